package application

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Section is a part of the application's log, for other processes: the events as they
// are stored, which those decode who have the application's types, and its keys. It is
// made to be sent as JSON.
type Section struct {
	// ID is "first,last": the positions that the section is of.
	ID string `json:"id"`
	// Items are the events of these positions, in order. A log may lack positions.
	Items []persistence.Notification `json:"items"`
	// Next is the id of the section behind it. If it is not empty, the section is complete:
	// it never changes, and can be cached. Else the log does not reach to its end yet: ask
	// for it again.
	Next string `json:"next,omitempty"`
}

// MaxSection is the greatest number of positions of a section.
const MaxSection = 1000

// SectionID returns the id of the section of so many positions behind one.
func SectionID(after int64, size int) string {
	return fmt.Sprintf("%d,%d", after+1, after+int64(size))
}

// Section returns a section of the log. One of more than [MaxSection] positions ends
// there, as its id then says, and Next goes on from there. It returns
// [annals.ErrConfiguration] for an id that is not of the form "first,last", from 1 on.
func (a *Application) Section(ctx context.Context, id string) (Section, error) {
	first, last, err := parseSection(id)
	if err == nil {
		err = a.usable()
	}
	if err != nil {
		return Section{}, a.errorf("section", err)
	}
	size := min(last-first+1, MaxSection)
	last = first + size - 1
	s := Section{ID: fmt.Sprintf("%d,%d", first, last), Items: []persistence.Notification{}}
	head, err := a.Position(ctx) // before the events: up to it they are complete
	if err != nil {
		return Section{}, err
	}
	if head >= first {
		for n, err := range a.recorder.ReadLog(ctx, persistence.LogQuery{After: first - 1, UpTo: min(last, head), Hash: true}) {
			if err != nil {
				return Section{}, a.errorf("section", err)
			}
			s.Items = append(s.Items, n)
		}
	}
	if head >= last {
		s.Next = SectionID(last, int(size))
	}
	return s, nil
}

func parseSection(id string) (first, last int64, err error) {
	from, to, ok := strings.Cut(id, ",")
	if ok {
		first, err = strconv.ParseInt(from, 10, 64)
	}
	if ok && err == nil {
		last, err = strconv.ParseInt(to, 10, 64)
	}
	const greatest = 1 << 62
	if !ok || err != nil || first < 1 || last < first || last > greatest {
		return 0, 0, fmt.Errorf("%q is no id of a section, which is \"first,last\", from 1 on: %w", id, annals.ErrConfiguration)
	}
	return first, last, nil
}
