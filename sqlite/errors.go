package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Error says what could not be done with which database. It is the sentinel that
// Kind names, and unwraps to the driver's error.
type Error struct {
	// Database is the path of the file.
	Database string
	// Op is what was to be done: "record".
	Op string
	// Kind is the sentinel: [persistence.ErrFull], say; nil if there is none.
	Kind error
	// Err is the driver's error.
	Err error
}

// Error names the database, the operation and the reason.
func (e *Error) Error() string {
	s := fmt.Sprintf("sqlite: %s: %s: ", e.Op, e.Database)
	if e.Kind != nil {
		s += e.Kind.Error()
		if hint := hints[e.Kind]; hint != "" {
			s += " (" + hint + ")"
		}
		s += ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns the sentinel and the driver's error.
func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Err}
	}
	return []error{e.Kind, e.Err}
}

// hints say what an operator does about an error.
var hints = map[error]string{
	persistence.ErrNotDatabase: "the file is something else: check the path",
	persistence.ErrReadOnly:    "check the permissions of the file and its folder",
	persistence.ErrFull:        "nothing was stored: free some space and try again",
	persistence.ErrBusy:        "nothing was stored: others held the lock too long; see WithBusyTimeout, or SQLITE_BUSY_TIMEOUT",
	persistence.ErrIO:          "look at the disk and the system's log",
	persistence.ErrCorrupt:     "restore a backup, or try sqlite3's .recover",
	annals.ErrConfiguration:    "check the path: is it a file that may be opened, in a folder that exists?",
	annals.ErrOutcomeUnknown:   "repeat the same save: nothing is stored twice",
}

// The primary result codes of SQLite that are told apart.
const (
	codeError      = 1
	codeBusy       = 5
	codeLocked     = 6
	codeReadOnly   = 8
	codeInterrupt  = 9
	codeIOErr      = 10
	codeCorrupt    = 11
	codeFull       = 13
	codeCantOpen   = 14
	codeConstraint = 19
	codeNotADB     = 26

	codeShmSize           = codeIOErr | 19<<8 // no space for the index of the WAL
	codeConstraintNotNull = codeConstraint | 5<<8
	codeConstraintUnique  = codeConstraint | 8<<8
)

// moderncCode returns the extended result code in an error of modernc.org/sqlite.
func moderncCode(err error) (int, bool) {
	var coder interface{ Code() int }
	if errors.As(err, &coder) {
		return coder.Code(), true
	}
	return 0, false
}

func (c *config) primaryCode(err error) int {
	if code, ok := c.errorCode(err); ok {
		return code & 0xff
	}
	return 0
}

// isConflict reports whether an INSERT failed because the version is there
// already, or because the one before is not.
func (c *config) isConflict(err error) bool {
	code, ok := c.errorCode(err)
	return ok && (code == codeConstraintUnique || code == codeConstraintNotNull)
}

// mayBeStored reports whether a statement that failed, and that was a transaction
// of its own, may have been committed: if the disk failed, or SQLite was not even
// reached.
func (c *config) mayBeStored(err error) bool {
	code := c.primaryCode(err)
	return code == 0 || code == codeIOErr
}

// isRefused reports whether SQLite says of a failed commit that it did not
// happen. After other failures it may have.
func (c *config) isRefused(err error) bool {
	switch c.primaryCode(err) {
	case codeFull, codeBusy, codeReadOnly, codeConstraint: // the last: of the caller's own tables, checked at the end
		return true
	default:
		return false
	}
}

// isBusy reports whether somebody else held the lock, or the connection.
func (r *Recorder) isBusy(err error) bool {
	return errors.Is(err, persistence.ErrBusy) || errors.Is(r.kind(err), persistence.ErrBusy)
}

// errorf says what could not be done. Errors that are typed already, and the
// context's, stay as they are.
func (r *Recorder) errorf(ctx context.Context, op string, err error) error {
	return r.errorfOn(ctx, r.readDB, op, err)
}

// errorfOn is errorf, which looks at the tables by q.
func (r *Recorder) errorfOn(ctx context.Context, q queryer, op string, err error) error {
	var schema *persistence.SchemaError
	var wrapped *Error
	code := r.cfg.primaryCode(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, annals.ErrClosed), errors.Is(err, annals.ErrVersionConflict), errors.Is(err, annals.ErrTrackingConflict),
		errors.As(err, &schema), errors.As(err, &wrapped):
		return err
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || code == codeInterrupt):
		return ctx.Err()
	case code == 0 && r.isOpen() != nil:
		return annals.ErrClosed // a call that had begun, and found the database closed
	case code == codeError && !errors.Is(err, persistence.ErrSchema):
		// The tables may have been changed while they were in use.
		if have, e := r.schemaVersion(context.WithoutCancel(ctx), q); e == nil && have != r.cfg.schema {
			return r.schemaError(have)
		}
	}
	return &Error{Database: r.name, Op: op, Kind: r.kind(err), Err: err}
}

func (r *Recorder) kind(err error) error {
	if code, _ := r.cfg.errorCode(err); code == codeShmSize {
		return persistence.ErrFull
	}
	switch r.cfg.primaryCode(err) {
	case codeIOErr:
		return persistence.ErrIO
	case codeBusy, codeLocked:
		return persistence.ErrBusy
	case codeReadOnly:
		return persistence.ErrReadOnly
	case codeCorrupt:
		return persistence.ErrCorrupt
	case codeFull:
		return persistence.ErrFull
	case codeCantOpen:
		return annals.ErrConfiguration
	case codeNotADB:
		return persistence.ErrNotDatabase
	default:
		return nil
	}
}
