package annalstest_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// report is a testing.TB that keeps what is reported to it.
type report struct {
	testing.TB

	failed   []string
	skipped  bool
	cleanups []func()
}

func (r *report) Helper()           {}
func (r *report) Cleanup(f func())  { r.cleanups = append(r.cleanups, f) }
func (r *report) Failed() bool      { return len(r.failed) > 0 }
func (r *report) Skipped() bool     { return r.skipped }
func (r *report) Error(args ...any) { r.failed = append(r.failed, fmt.Sprint(args...)) }
func (r *report) Fatal(args ...any) { r.Error(args...); runtime.Goexit() }
func (r *report) FailNow()          { runtime.Goexit() }
func (r *report) Skip(...any)       { r.skipped = true; runtime.Goexit() }
func (r *report) Errorf(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}

func (r *report) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// reported returns what a test would report.
func reported(t *testing.T, test func(tb *report)) string {
	t.Helper()
	r := &report{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		test(r)
	}()
	<-done
	return strings.Join(r.failed, "\n")
}

// wantReported fails unless each part is reported; with none, unless nothing is.
func wantReported(t *testing.T, test func(tb *report), parts ...string) {
	t.Helper()
	got := reported(t, test)
	if len(parts) == 0 && got != "" {
		t.Errorf("it is reported:\n%s", got)
	}
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("it does not say %q:\n%s", part, got)
		}
	}
}
