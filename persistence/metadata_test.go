package persistence_test

import (
	"testing"

	"github.com/annals-es/annals/persistence"
)

// B37. A recorder selects the events of a story by an id that it can read.
func TestMetadataAreStoredInClearBesideAnEncryptedState(t *testing.T) {
	t.Parallel()
	m := newMapper(t, persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}})
	e := anEvent()
	stored, err := m.Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	if stored.CorrelationID != "story" || stored.CausationID != "cause" || string(stored.Headers) != `{"user":"ann"}` {
		t.Errorf("stored are %q, %q and %s", stored.CorrelationID, stored.CausationID, stored.Headers)
	}
}
