package persistence

import (
	"errors"
	"fmt"

	"github.com/annals-es/annals"
)

// The errors of databases, for operators. Each is wrapped in an error that says
// which database, and what to do.
var (
	// ErrSchema: the tables are missing, older or newer than the code. See
	// [*SchemaError].
	ErrSchema = errors.New("schema does not fit")

	// ErrNotDatabase: the file is not a database of this kind.
	ErrNotDatabase = errors.New("not a database")

	// ErrReadOnly: the database cannot be written.
	ErrReadOnly = errors.New("read-only database")

	// ErrFull: there is no space left.
	ErrFull = errors.New("no space left")

	// ErrBusy: the database was locked by others for longer than the timeout.
	ErrBusy = errors.New("database is busy")

	// ErrPermission: the user may not do this.
	ErrPermission = errors.New("permission denied")

	// ErrIO: the disk failed.
	ErrIO = errors.New("disk I/O error")

	// ErrCorrupt: the database's file is damaged.
	ErrCorrupt = errors.New("damaged database")
)

// ErrUnavailable says that what is needed did not answer: the database's server, or
// what a codec needs, a key service, say. It tells nothing about the event. Try again.
var ErrUnavailable = errors.New("not available")

// SchemaError says which version of the tables was found. It is [ErrSchema].
type SchemaError struct {
	// Where names the database and the tables.
	Where string
	// Have is the version found; 0 if there are no tables, -1 if some of them are
	// missing or they do not say their version. Want is the version that this code works with.
	Have, Want int
}

// Error says what was found and what to do.
func (e *SchemaError) Error() string {
	switch {
	case e.Have < 0:
		return fmt.Sprintf("%s: some tables are missing, or do not say their schema version: insert it, or restore a backup; "+
			"if another program made these tables, choose another prefix (WithTablePrefix, or …_TABLE_PREFIX)", e.Where)
	case e.Have == 0:
		return fmt.Sprintf("%s: the tables are missing: call Migrate once to create them, "+
			"or set MIGRATE=true if the environment chose the recorder; "+
			"if there should be events already, this is another file, schema or table prefix", e.Where)
	case e.Have < e.Want:
		return fmt.Sprintf("%s: the tables have schema version %d, this code needs %d: call Migrate, "+
			"or set MIGRATE=true if the environment chose the recorder", e.Where, e.Have, e.Want)
	default:
		return fmt.Sprintf("%s: the tables have schema version %d, this code knows %d: use a newer version of Annals",
			e.Where, e.Have, e.Want)
	}
}

// Is reports whether target is [ErrSchema].
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// EncodeError says which event could not be encoded. Nothing was stored. It is
// [annals.ErrUnencodable], unless it is [ErrUnavailable].
type EncodeError struct {
	Topic    string
	StreamID string
	Version  int64
	// Err says which type and field; it holds no data.
	Err error
}

// Error names the event and the reason.
func (e *EncodeError) Error() string {
	return fmt.Sprintf("persistence: cannot encode %s, version %d of stream %q: %v", e.Topic, e.Version, e.StreamID, e.Err)
}

// Is reports whether target is [annals.ErrUnencodable], and the event is to blame.
func (e *EncodeError) Is(target error) bool {
	return target == annals.ErrUnencodable && !errors.Is(e.Err, ErrUnavailable)
}

// Unwrap returns the reason.
func (e *EncodeError) Unwrap() error { return e.Err }

// DecodeError says which stored event could not be read. It is
// [annals.ErrUndecodable], unless it is [ErrUnavailable].
type DecodeError struct {
	Topic    string
	StreamID string
	Version  int64
	// Err says why; it holds no data.
	Err error
}

// Error names the event and the reason.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("persistence: cannot decode %s, version %d of stream %q: %v", e.Topic, e.Version, e.StreamID, e.Err)
}

// Is reports whether target is [annals.ErrUndecodable], and the event is to blame.
func (e *DecodeError) Is(target error) bool {
	return target == annals.ErrUndecodable && !errors.Is(e.Err, ErrUnavailable)
}

// Unwrap returns the reason.
func (e *DecodeError) Unwrap() error { return e.Err }
