package persistence_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// kennel is an aggregate with a part.
type kennel[T any] struct {
	annals.Aggregate

	Part T
}

type opened[T any] struct{}

func (opened[T]) Apply(*kennel[T]) {}

type (
	leftOut struct {
		Kept string
		Lost string `json:"-"`
	}
	leftOutOfCBOR struct {
		Lost string `cbor:"-"`
	}
	dashed struct {
		Dash string `json:"dash"`
		Last *dashed
	}
	own struct {
		Lost string `json:"-"`
	}
)

func (own) MarshalText() ([]byte, error)  { return nil, nil }
func (*own) UnmarshalText(_ []byte) error { return nil }

func checkSnapshotsOf[T any](t *testing.T) error {
	t.Helper()
	m, err := persistence.NewMapper(persistence.MapperConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return m.CheckSnapshots(annals.Define("Kennel", annals.On[opened[T]]("Opened")).SnapshotType())
}

// B33: a field that is not stored would be zero after a snapshot.
func TestSnapshotsKeepEveryField(t *testing.T) {
	t.Parallel()
	for what, err := range map[string]error{
		"a field":            checkSnapshotsOf[leftOut](t),
		"in a slice":         checkSnapshotsOf[[]leftOut](t),
		"in an array":        checkSnapshotsOf[[2]leftOut](t),
		"in a map":           checkSnapshotsOf[map[string]leftOut](t),
		"behind a pointer":   checkSnapshotsOf[struct{ P *leftOut }](t),
		"by the tag of CBOR": checkSnapshotsOf[leftOutOfCBOR](t),
	} {
		if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "Kennel") ||
			!strings.Contains(err.Error(), ".Lost is left out by its tag") || !strings.Contains(err.Error(), "SnapshotAs") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"named fields": checkSnapshotsOf[dashed](t), "a type with a form of its own": checkSnapshotsOf[own](t), "a time": checkSnapshotsOf[time.Time](t),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
