package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Error says what could not be done with which database. It is the sentinel that
// Kind names, and unwraps to the driver's error.
type Error struct {
	// Database says which database, on which server; without user and password.
	Database string
	// Op is what was to be done: "record".
	Op string
	// Kind is the sentinel: [persistence.ErrUnavailable], say; nil if there is none.
	Kind error
	// Err is the driver's error.
	Err error
}

// Error names the database, the operation and the reason.
func (e *Error) Error() string {
	s := fmt.Sprintf("postgres: %s: %s: ", e.Op, e.Database)
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
	persistence.ErrUnavailable: "nothing was stored: is the server up, and the address right? " +
		"see WithConnectTimeout, or POSTGRES_CONNECT_TIMEOUT",
	persistence.ErrBusy: "nothing was stored: try again; see WithLockTimeout, WithPoolSize, " +
		"or POSTGRES_LOCK_TIMEOUT, POSTGRES_MAX_CONNS",
	persistence.ErrReadOnly:   "connect to the primary server",
	persistence.ErrPermission: "grant the user what docs/recorders/postgres.md lists",
	persistence.ErrFull:       "nothing was stored: free some space and try again",
	persistence.ErrIO:         "look at the server's disk and log",
	persistence.ErrCorrupt:    "look at the server's log, and restore a backup",
	annals.ErrConfiguration:   "check the URL, the user, the password and the database",
	annals.ErrOutcomeUnknown:  "repeat the same save: nothing is stored twice",
}

// The SQLSTATEs that are told apart.
const (
	codeTooManyConnections = "53300"
	codeDiskFull           = "53100"
	codeLockNotAvailable   = "55P03"
	codeQueryCanceled      = "57014"
	codeAdminShutdown      = "57P01"
	codeCrashShutdown      = "57P02"
	codeCannotConnectNow   = "57P03"
	codeIdleTimeout        = "57P05"
	codeIOError            = "58030"
	codeDataCorrupted      = "XX001"
	codeIndexCorrupted     = "XX002"
	codeDeadlock           = "40P01"
	codeSerialization      = "40001"
	codeReadOnly           = "25006"
	codePermission         = "42501"
	codeUndefinedTable     = "42P01"
	codeUndefinedColumn    = "42703"
	codeNoSchema           = "3F000"
	codeNoDatabase         = "3D000"
	codeUnique             = "23505"
	codeNoStatement        = "26000"
	codeNotSupported       = "0A000" // of a plan whose result has changed

	classConnection    = "08"
	classAuthorization = "28"
	classData          = "22"
	classIntegrity     = "23"
	classLimit         = "54"
)

func codeOf(e *pgconn.PgError) string { return e.Code }

// isShutdown reports whether the server ended the connection.
func isShutdown(e *pgconn.PgError) bool {
	switch e.Code {
	case codeAdminShutdown, codeCrashShutdown, codeCannotConnectNow, codeIdleTimeout:
		return true
	default:
		return strings.HasPrefix(e.Code, classConnection)
	}
}

// isConflict reports whether an INSERT failed because the version is there already:
// somebody inserted it without the lock, or the transaction sees an old state.
func isConflict(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == codeUnique
}

// isUnprepared reports whether the server does not know a statement any more that was
// prepared, or its tables have changed: nothing was done. Of the latter, the code says only
// that something is not supported, which may be something else.
func isUnprepared(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == codeNoStatement || e.Code == codeNotSupported && e.Routine == "RevalidateCachedQuery")
}

// isOwn reports whether a save failed for what it is itself, and not for the state of
// the server: others that were to be committed with it may do well.
func isOwn(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return true // it cannot be sent
	}
	for _, class := range []string{classData, classIntegrity, classLimit} {
		if strings.HasPrefix(e.Code, class) {
			return true
		}
	}
	return false
}

// isMisfit reports whether a table or a column was not found.
func isMisfit(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == codeUndefinedTable || e.Code == codeUndefinedColumn || e.Code == codeNoSchema)
}

func (r *Recorder) unknown(err error) error {
	return &Error{Database: r.name, Op: "record", Kind: annals.ErrOutcomeUnknown, Err: err}
}

// errorf says what could not be done. Errors that are typed already, and the
// context's, stay as they are.
func (r *Recorder) errorf(ctx context.Context, op string, err error) error {
	var schema *persistence.SchemaError
	var wrapped *Error
	lost, isLost := isLost(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, annals.ErrClosed), errors.Is(err, annals.ErrVersionConflict), errors.Is(err, annals.ErrTrackingConflict),
		errors.As(err, &schema), errors.As(err, &wrapped):
		return err
	case ctx.Err() != nil && !isLost:
		return ctx.Err()
	case isLost && r.isOpen() != nil:
		return annals.ErrClosed
	case isLost:
		return &Error{Database: r.name, Op: op, Kind: kindOfLost(lost), Err: lost.err}
	}
	if isMisfit(err) && r.sql.Swap(nil) != nil {
		// The tables were changed while they were in use.
		if again := r.ensureReady(context.WithoutCancel(ctx)); errors.As(again, &schema) {
			return again
		}
	}
	return &Error{Database: r.name, Op: op, Kind: kind(err), Err: err}
}

func kind(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return nil
	}
	switch e.Code {
	case codeTooManyConnections, codeLockNotAvailable, codeQueryCanceled, codeDeadlock, codeSerialization:
		return persistence.ErrBusy
	case codeDiskFull:
		return persistence.ErrFull
	case codeIOError:
		return persistence.ErrIO
	case codeDataCorrupted, codeIndexCorrupted:
		return persistence.ErrCorrupt
	case codeReadOnly:
		return persistence.ErrReadOnly
	case codePermission:
		return persistence.ErrPermission
	case codeNoDatabase:
		return annals.ErrConfiguration
	}
	switch {
	case strings.HasPrefix(e.Code, classAuthorization):
		return annals.ErrConfiguration
	case isShutdown(e):
		return persistence.ErrUnavailable
	default:
		return nil
	}
}
