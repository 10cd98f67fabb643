package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/annals-es/annals/persistence"
)

var _ persistence.SnapshotRecorder = (*Recorder)(nil)

// RecordSnapshot stores the snapshot, unless the stream has a later one. It waits
// for the write lock as a save does.
func (r *Recorder) RecordSnapshot(ctx context.Context, s persistence.StoredSnapshot) error {
	if err := s.Check(); err != nil {
		return err
	}
	err := r.usable(ctx)
	if err == nil {
		state := s.State
		if state == nil {
			state = []byte{}
		}
		err = r.patiently(ctx, func() error {
			_, err := r.stmts.recordSnapshot.ExecContext(ctx, s.StreamID, s.Version, s.Topic, s.CreatedAt.UnixMicro(),
				s.ModifiedAt.UnixMicro(), int64(s.Shape), s.Mark, s.Encoding, state)
			return err
		})
	}
	return r.errorf(ctx, "record snapshot", err)
}

// ReadSnapshot returns the snapshot of a stream.
func (r *Recorder) ReadSnapshot(ctx context.Context, streamID string) (s persistence.StoredSnapshot, ok bool, err error) {
	brief := ctx
	if err = r.usable(ctx); err == nil {
		brief, err = r.reading(ctx, true)
	}
	if err == nil {
		defer r.readingDone()
		var created, modified int64
		err = r.stmts.readSnapshot.QueryRowContext(brief, streamID).Scan(
			&s.Version, &s.Topic, &created, &modified, &s.Shape, &s.Mark, &s.Encoding, &s.State)
		s.StreamID, s.CreatedAt, s.ModifiedAt = streamID, time.UnixMicro(created).UTC(), time.UnixMicro(modified).UTC()
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return persistence.StoredSnapshot{}, false, nil
	case err != nil:
		return persistence.StoredSnapshot{}, false, r.errorf(ctx, "read snapshot", err)
	default:
		return s, true, nil
	}
}
