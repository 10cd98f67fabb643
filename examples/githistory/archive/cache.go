package archive

import (
	"context"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/annals-es/annals/application"
)

// cache keeps aggregates between saves: those that are not saved yet, all of them,
// and the last used of those that are.
type cache[A any] struct {
	repository *application.Repository[A]
	unsaved    map[string]*A
	used       *lru.Cache[string, *A]
}

func newCache[A any](repository *application.Repository[A], size int) (*cache[A], error) {
	used, err := lru.New[string, *A](size)
	if err != nil {
		return nil, fmt.Errorf("archive: keep %d aggregates: %w", size, err)
	}
	return &cache[A]{repository: repository, unsaved: make(map[string]*A), used: used}, nil
}

// get returns an aggregate; nil if there is none.
func (c *cache[A]) get(ctx context.Context, id string) (*A, error) {
	if a, ok := c.unsaved[id]; ok {
		return a, nil
	}
	if a, ok := c.used.Get(id); ok {
		return a, nil
	}
	return get(ctx, c.repository, id)
}

// put keeps an aggregate that has events which are not saved yet.
func (c *cache[A]) put(id string, a *A) { c.unsaved[id] = a }

// saved says that all is saved.
func (c *cache[A]) saved() {
	for id, a := range c.unsaved {
		c.used.Add(id, a)
	}
	c.unsaved = make(map[string]*A)
}
