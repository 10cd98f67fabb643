package application_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence/hashchain"
)

// B38: heads are written to a file, read from it later, and compared.
func TestHeadsAreNotedAndComparedLater(t *testing.T) {
	t.Parallel()
	s := open(t, application.WithHashChain())
	s.register(t, "fido", "sit", "roll")
	s.register(t, "rex")
	report, err := s.Verify(t.Context(), hashchain.Config{HashedFrom: 1})
	if err != nil || report.Events != 4 || report.Streams != 2 || report.Hashed != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	fido, err := s.StreamHead(t.Context(), "fido")
	if err != nil || fido.Version != 3 {
		t.Fatalf("%+v, %v", fido, err)
	}
	file := filepath.Join(t.TempDir(), "heads")
	if err := os.WriteFile(file, []byte(report.Head.String()+"\n"+fido.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	s.register(t, "bella")
	if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("bark") }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	var log hashchain.LogHead
	var head hashchain.Head
	if err := errors.Join(log.UnmarshalText([]byte(lines[0])), head.UnmarshalText([]byte(lines[1]))); err != nil {
		t.Fatal(err)
	}
	if report, err := s.Verify(t.Context(), hashchain.Config{Log: &log, Heads: []hashchain.Head{head}}); err != nil || report.Events != 6 {
		t.Errorf("%+v, %v", report, err)
	}
	if report, err := s.VerifyStream(t.Context(), "fido", head); err != nil || report.Events != 4 || report.Hashed != 4 {
		t.Errorf("%+v, %v", report, err)
	}
	other := open(t, application.WithHashChain()) // in which something else happened
	other.register(t, "fido", "sit", "roll", "bark")
	_, err = other.Verify(t.Context(), hashchain.Config{Log: &log})
	wantError(t, err, hashchain.ErrBroken, "school", "verify", "position 4")
	_, err = other.VerifyStream(t.Context(), "fido", head)
	wantError(t, err, hashchain.ErrBroken, "school", "verify", `version 3 of stream "fido"`)
}

// B38, B52.
func TestStreamsThatAreNotThereAreVerified(t *testing.T) {
	t.Parallel()
	s := open(t, application.WithHashChain())
	head, err := s.StreamHead(t.Context(), "nobody")
	if err != nil || head.Version != 0 {
		t.Errorf("%+v, %v", head, err)
	}
	if report, err := s.VerifyStream(t.Context(), "nobody", head); err != nil || report.Events != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	_, err = s.VerifyStream(t.Context(), "nobody", hashchain.Head{StreamID: "nobody", Version: 1})
	wantError(t, err, hashchain.ErrBroken, `"nobody"`)
	_, err = s.StreamHead(t.Context(), "")
	wantError(t, err, annals.ErrInvalidID, "stream id")
	_, err = s.VerifyStream(t.Context(), strings.Repeat("x", 256))
	wantError(t, err, annals.ErrInvalidID, "stream id")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.StreamHead(t.Context(), "nobody")
	wantError(t, err, annals.ErrClosed, "school", "stream head")
	_, err = s.VerifyStream(t.Context(), "nobody")
	wantError(t, err, annals.ErrClosed, "school", "verify")
	_, err = s.Verify(t.Context(), hashchain.Config{})
	wantError(t, err, annals.ErrClosed, "school", "verify")
}

// B38: a noted head covers events that have no hashes.
func TestHeadsOfALogWithoutHashes(t *testing.T) {
	t.Parallel()
	recorder := memory.New()
	s := open(t, application.WithRecorder(recorder))
	s.register(t, "fido", "sit")
	report, err := s.Verify(t.Context(), hashchain.Config{})
	if err != nil || report.Unhashed != 2 || report.LastUnhashed != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	later := open(t, application.WithRecorder(recorder), application.WithHashChain())
	if err := later.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("roll") }); err != nil {
		t.Fatal(err)
	}
	cfg := hashchain.Config{Log: &report.Head, HashedFrom: report.LastUnhashed + 1}
	if report, err := later.Verify(t.Context(), cfg); err != nil || report.Hashed != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}
