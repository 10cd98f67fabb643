package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
)

// What is committed together, at most.
const (
	maxGroup  = 512
	maxEvents = 4096
	maxBytes  = 8 << 20
)

// Record stores the batch. It waits while other saves are committed, for as long as
// [WithLockTimeout] says or until its context is done. When the connection is lost it
// repeats the save on another one, which stores nothing twice, for as long as
// [WithConnectTimeout] says. The transaction that it passes to Do is a pgx.Tx; a batch
// with a Do that was called is not repeated.
func (r *Recorder) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if err := check(&b); err != nil {
		return nil, err
	}
	if err := r.usable(ctx); err != nil {
		return nil, r.errorf(ctx, "record", err)
	}
	if b.Ledger != nil {
		b.OpenLedger(r.openLedger)
	}
	if len(b.Events) == 0 && b.Tracking == nil && b.Do == nil {
		return nil, nil
	}
	if b.Do != nil {
		positions, err := r.recordWithDo(ctx, &b)
		if own, ok := errors.AsType[*doError](err); ok {
			return nil, own.error
		}
		return positions, r.errorf(ctx, "record", err)
	}
	return r.writer.Record(ctx, &b)
}

// take takes the next group out of the queue: requests of which no two have a stream
// or a tracking in common, so that each fits, or not, to what is stored alone.
func take(queue []*group.Request) (taken, rest []*group.Request) {
	if len(queue) == 1 {
		return queue, nil
	}
	claimed := make(claims, len(queue))
	events, size := 0, 0
	for i, req := range queue {
		n, bytes := weight(req.Batch)
		full := len(taken) == maxGroup || len(taken) > 0 && (events+n > maxEvents || size+bytes > maxBytes)
		if full {
			return taken, append(rest, queue[i:]...)
		}
		if !claimed.claim(i, req.Batch) {
			rest = append(rest, req)
			continue
		}
		events, size = events+n, size+bytes
		taken = append(taken, req)
	}
	return taken, rest
}

// weight returns how many events the batch has, and about how many bytes.
func weight(b *persistence.Batch) (events, size int) {
	const names = 256 // ids, topic and the rest
	for i := range b.Events {
		size += len(b.Events[i].State) + len(b.Events[i].Headers) + names
	}
	return len(b.Events), size
}

// maxSave is how many bytes the events of a save may have: a message, and a parameter, have
// less than 1 GiB.
const maxSave = 1<<30 - 16<<20

// check returns an error if the batch cannot be stored, whatever is stored.
func check(b *persistence.Batch) error {
	if err := b.Check(); err != nil {
		return err
	}
	if _, size := weight(b); size > maxSave {
		return fmt.Errorf("the events of the save have %d bytes, and PostgreSQL takes up to %d in a statement: %w",
			size, maxSave, annals.ErrUnencodable)
	}
	return nil
}

// claims says which request is the first that writes to something.
type claims map[claim]int

// claim is a stream, or what a consumer tracks.
type claim struct{ stream, tracking string }

// claim claims what the batch of a request writes to, and reports whether it is free. What
// is claimed by a request that has to wait stays claimed: later requests of the same stream
// wait behind it.
func (c claims) claim(request int, b *persistence.Batch) (free bool) {
	free = true
	mark := func(what claim) {
		first, ok := c[what]
		if !ok {
			c[what] = request
		}
		free = free && (!ok || first == request)
	}
	for i := range b.Events {
		mark(claim{stream: b.Events[i].StreamID})
	}
	if b.Tracking != nil {
		mark(claim{tracking: b.Tracking.Name})
	}
	return free
}

// commit stores the group, and answers each request.
func (r *Recorder) commit(reqs []*group.Request) {
	p := r.patience()
	unknown := false // an earlier try may have stored them
	for {
		err := r.tryCommit(reqs, unknown)
		reqs = slices.DeleteFunc(slices.Clone(reqs), (*group.Request).Answered)
		lost, isLost := isLost(err)
		unknown = unknown || isLost && lost.sent
		switch {
		case len(reqs) == 0:
			return
		case err == nil:
			err = errNotSaid
		case isLost && p.again(context.Background()):
			if !unknown {
				reqs = leaveOut(reqs)
			}
			if len(reqs) > 0 {
				continue
			}
			return
		case len(reqs) > 1 && !isLost && !unknown && isOwn(err):
			for _, req := range reqs {
				r.commit([]*group.Request{req})
			}
			return
		}
		for _, req := range reqs {
			req.Answer(group.Result{Err: r.failed(req, err, unknown)})
		}
		return
	}
}

func (r *Recorder) failed(req *group.Request, err error, unknown bool) error {
	if unknown {
		return r.unknown(err)
	}
	return r.errorf(req.Context, "record", err)
}

// leaveOut answers the requests whose context is done, of which nothing is stored, and
// returns the others.
func leaveOut(reqs []*group.Request) (left []*group.Request) {
	for _, req := range reqs {
		if err := req.Context.Err(); err != nil {
			req.Answer(group.Result{Err: err})
		} else {
			left = append(left, req)
		}
	}
	return left
}

func (r *Recorder) tryCommit(reqs []*group.Request, unknown bool) error {
	ctx := context.Background()
	return r.try(ctx, r.pool, func(conn *pgx.Conn) error {
		sql, err := r.texts()
		if err != nil {
			return err
		}
		s := &saving{r: r, sql: sql, lock: sql.lockGroup, conn: conn, unknown: unknown}
		if r.plain {
			s.plain = conn
		}
		if len(reqs) == 1 {
			err := r.inTime(ctx, conn, func() error { return s.answerOne(ctx, reqs[0]) })
			if err != nil || reqs[0].Answered() {
				return err
			}
		}
		return r.inTime(ctx, conn, func() error { return s.answer(ctx, reqs) })
	})
}

// inTime calls f, in which the connection is made to fail when a save has waited for as long
// as the lock and the server's answer may take.
func (r *Recorder) inTime(ctx context.Context, conn *pgx.Conn, f func() error) error {
	over := r.limits.guard(conn.PgConn().Conn(), r.cfg.lockTimeout+r.cfg.saveTimeout)
	defer func() {
		if ended := over(); ended {
			r.giveUp(ctx, conn)
		}
	}()
	err := f()
	if isTimeout(err) {
		lost, known := isLost(err)
		err = &lostError{
			err:  errors.New("the server does not answer; see WithSaveTimeout, or POSTGRES_SAVE_TIMEOUT"),
			sent: !known || lost.sent,
		}
	}
	return err
}

// giveUp closes a connection that does not answer, and asks the server to end what it does
// for it: it may hold the lock.
func (r *Recorder) giveUp(ctx context.Context, conn *pgx.Conn) {
	if conn.IsClosed() {
		return // the driver has done so
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(r.cfg.connectTimeout, giveUpTimeout))
	defer cancel()
	_ = conn.PgConn().CancelRequest(ctx)
	_ = conn.Close(ctx)
}

const giveUpTimeout = time.Second

// saving stores requests by a connection, or in a transaction.
type saving struct {
	r       *Recorder
	sql     *statements
	lock    statement // takes the lock
	conn    conn
	plain   *pgx.Conn // nil: the driver's calls are wanted, see isPlain
	unknown bool      // an earlier try may have stored them
}

// conn is a connection or a transaction.
type conn interface {
	queryer
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// answerOne answers a request, if storeOne stores it.
func (s *saving) answerOne(ctx context.Context, req *group.Request) error {
	positions, err := s.storeOne(ctx, req.Batch)
	if err == nil && len(positions) > 0 {
		s.r.watcher.saved()
		markFresh(req.Batch)
		req.Answer(group.Result{Positions: positions})
	}
	return err
}

// answer stores requests and answers each; without an answer are those that an error
// concerns.
func (s *saving) answer(ctx context.Context, reqs []*group.Request) error {
	batches := make([]*persistence.Batch, len(reqs))
	for i, req := range reqs {
		batches[i] = req.Batch
	}
	outcomes, err := s.storeGroup(ctx, batches, "")
	if err != nil {
		return err
	}
	stored := false
	for i, req := range reqs {
		if o := &outcomes[i]; o.refused == nil {
			stored = stored || len(o.positions) > 0
			markFresh(req.Batch)
			req.Answer(group.Result{Positions: o.positions})
		}
	}
	if stored {
		s.r.watcher.saved()
	}
	for i, req := range reqs {
		if refused := outcomes[i].refused; refused != nil {
			positions, err := s.explain(ctx, req.Batch, refused)
			if err != nil && !isAnswer(err) {
				return err
			}
			req.Answer(group.Result{Positions: positions, Err: err})
		}
	}
	return nil
}

// markFresh tells the caller that the batch was stored now.
func markFresh(b *persistence.Batch) {
	if b.Fresh != nil {
		*b.Fresh = true
	}
}

// isAnswer reports whether the error says what became of a save.
func isAnswer(err error) bool {
	return errors.Is(err, annals.ErrVersionConflict) || errors.Is(err, annals.ErrTrackingConflict) ||
		errors.Is(err, annals.ErrOutcomeUnknown)
}

// outcome is what became of a batch: its positions, or why it does not fit.
type outcome struct {
	positions []int64
	refused   *refusal
}

// refusal says what a batch does not fit to.
type refusal struct {
	actual  map[string]int64 // the versions of streams that are not at the one that the batch expects
	tracked int64            // what is tracked, if the batch's tracking does not follow it
}

// storeGroup stores those of the batches that fit to what is stored, in one
// transaction and one round trip. Before is a statement that goes ahead.
func (s *saving) storeGroup(ctx context.Context, batches []*persistence.Batch, before string) ([]outcome, error) {
	outcomes := make([]outcome, len(batches))
	var (
		events, trackings  = arguments(batches)
		positions          []int64
		refused, untracked []int32
		refusedStreams     []string
		actual, tracked    []int64
	)
	insert := insertion{
		statement: s.sql.insertEvents, columns: events,
		result: []any{&positions, &refused, &refusedStreams, &actual, nil},
	}
	if trackings != nil {
		insert.statement, insert.columns = s.sql.insertGroup, slices.Concat(events, trackings)
		insert.result = append(insert.result, &untracked, &tracked)
	}
	var err error
	if s.plain != nil {
		err = s.sendGroup(ctx, &insert)
	} else {
		err = s.queryGroup(ctx, before, &insert)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(positions) // they were taken in the order of the events, and RETURNING promises none
	for i, request := range refused {
		o := &outcomes[request]
		if o.refused == nil {
			o.refused = &refusal{actual: make(map[string]int64)}
		}
		o.refused.actual[refusedStreams[i]] = actual[i]
	}
	for i, request := range untracked {
		o := &outcomes[request]
		if o.refused == nil {
			o.refused = new(refusal)
		}
		o.refused.tracked = tracked[i]
	}
	for i, b := range batches {
		if o := &outcomes[i]; o.refused == nil {
			if len(positions) < len(b.Events) {
				return nil, fmt.Errorf("the server returned too few positions: %w", persistence.ErrCorrupt)
			}
			o.positions, positions = positions[:len(b.Events):len(b.Events)], positions[len(b.Events):]
		}
	}
	return outcomes, nil
}

// insertion is a statement that stores a group.
type insertion struct {
	statement

	columns []any // its parameters
	result  []any // where its one row goes; nil: of no interest
}

// queryGroup has the driver send the statement, behind that of the lock: as one transaction,
// or in that of the caller.
func (s *saving) queryGroup(ctx context.Context, before string, insert *insertion) error {
	var pipeline pgx.Batch
	if before != "" {
		pipeline.Queue(before)
	}
	pipeline.Queue(s.lock.text)
	pipeline.Queue(insert.text, insert.columns...).QueryRow(func(row pgx.Row) error { return row.Scan(insert.result...) })
	return s.conn.SendBatch(ctx, &pipeline).Close()
}

// sendGroup sends the statement itself, behind that of the lock, as one transaction.
func (s *saving) sendGroup(ctx context.Context, insert *insertion) error {
	m := &s.r.messages
	said := false
	row := func(fields []pgconn.FieldDescription, values [][]byte) error {
		said = true
		for i, to := range insert.result {
			if to == nil {
				continue
			}
			if err := s.plain.TypeMap().Scan(fields[i].DataTypeOID, pgx.BinaryFormatCode, values[i], to); err != nil {
				return err
			}
		}
		return nil
	}
	err := m.send(ctx, s.r, s.plain, call{statement: s.lock},
		call{statement: insert.statement, values: m.columns(insert.columns), row: row})
	if err == nil && !said {
		err = &lostError{err: errNotSaid, sent: true}
	}
	return err
}

var errNotSaid = errors.New("the server did not say what became of the save")

// arguments returns the parameters of insertEventsText, and those that insertGroupText has
// beside them; nil if there are none.
func arguments(batches []*persistence.Batch) (ofEvents, ofTrackings []any) {
	var (
		heads             = new(columnsOf)
		events            = new(columnsOf)
		trackingRequests  []int32
		trackingNames     []string
		trackingPositions []int64
		trackingAfters    []int64
		last              string
	)
	n := 0
	for _, b := range batches {
		n += len(b.Events)
	}
	events.grow(n)
	heads.grow(len(batches))
	for i, b := range batches {
		request := int32(i)
		var seen map[string]bool
		for j := range b.Events {
			e := &b.Events[j]
			events.add(request, e)
			if j > 0 && e.StreamID == last {
				continue
			}
			last = e.StreamID
			if j > 0 {
				if seen == nil {
					seen = map[string]bool{b.Events[0].StreamID: true}
				}
				if seen[e.StreamID] {
					continue
				}
				seen[e.StreamID] = true
			}
			heads.requests = append(heads.requests, request)
			heads.streams = append(heads.streams, e.StreamID)
			heads.versions = append(heads.versions, e.Version)
		}
		if t := b.Tracking; t != nil {
			trackingRequests = append(trackingRequests, request)
			trackingNames = append(trackingNames, t.Name)
			trackingPositions = append(trackingPositions, t.Position)
			after := int64(-1)
			if t.After != nil {
				after = *t.After
			}
			trackingAfters = append(trackingAfters, after)
		}
	}
	ofEvents = []any{
		heads.requests, heads.streams, heads.versions,
		events.requests, events.streams, events.versions, events.ids, events.topics, events.times, events.shapes, events.encodings,
		events.states, events.correlations, events.causations, events.headers, events.hashes,
	}
	if len(trackingRequests) > 0 {
		ofTrackings = []any{trackingRequests, trackingNames, trackingPositions, trackingAfters}
	}
	return ofEvents, ofTrackings
}

// columnsOf are events by columns, as the server takes them. A column that is empty
// for all events is nil.
type columnsOf struct {
	requests                        []int32
	streams, ids, topics, encodings []string
	versions                        []int64
	times                           []time.Time
	shapes                          []int32
	states, headers, hashes         [][]byte
	correlations, causations        []*string
}

func (c *columnsOf) grow(n int) {
	c.requests, c.shapes = make([]int32, 0, n), make([]int32, 0, n)
	c.versions, c.times = make([]int64, 0, n), make([]time.Time, 0, n)
	texts := make([]string, 4*n)
	c.streams, c.ids, c.topics, c.encodings = texts[0:0:n], texts[n:n:2*n], texts[2*n:2*n:3*n], texts[3*n:3*n:4*n]
	c.states = make([][]byte, 0, n)
}

func (c *columnsOf) add(request int32, e *persistence.StoredEvent) {
	n := len(c.requests)
	c.requests = append(c.requests, request)
	c.streams = append(c.streams, e.StreamID)
	c.versions = append(c.versions, e.Version)
	c.ids = append(c.ids, e.ID)
	c.topics = append(c.topics, e.Topic)
	c.times = append(c.times, e.Time)
	c.shapes = append(c.shapes, int32(e.Shape)) //nolint:gosec // shapes are few
	c.encodings = append(c.encodings, e.Encoding)
	c.states = append(c.states, notNil(e.State))
	c.correlations = addTo(c.correlations, n, textOrNull(e.CorrelationID))
	c.causations = addTo(c.causations, n, textOrNull(e.CausationID))
	c.headers = addTo(c.headers, n, bytesOrNull(e.Headers))
	c.hashes = addTo(c.hashes, n, bytesOrNull(e.Hash))
}

// addTo appends the value for event n, unless all are nil up to there. What is
// shorter than the other columns is filled up with NULL by the server, see storedText.
func addTo[T *string | []byte](column []T, n int, value T) []T {
	if value == nil {
		return column
	}
	for len(column) < n {
		column = append(column, nil)
	}
	return append(column, value)
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func bytesOrNull(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// explain says why a batch was refused: it is stored already, or one of its streams
// is at another version, or its tracking is not new.
func (s *saving) explain(ctx context.Context, b *persistence.Batch, refused *refusal) ([]int64, error) {
	if len(b.Events) > 0 && (b.Tracking == nil || refused.tracked >= b.Tracking.Position) && refused.mayBeStored(b) {
		positions, stored, err := s.stored(ctx, b.Events)
		if err != nil || stored {
			return positions, err
		}
	}
	for i := range b.Events {
		e := &b.Events[i]
		if actual, ok := refused.actual[e.StreamID]; ok {
			return nil, &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: actual}
		}
	}
	if s.unknown && refused.tracked == b.Tracking.Position {
		return nil, s.r.unknown(errors.New("the connection was lost, and the position is tracked now: by this save or another one"))
	}
	return nil, &annals.TrackingConflictError{Name: b.Tracking.Name, Position: b.Tracking.Position, Actual: refused.tracked}
}

// mayBeStored reports whether each stream of the batch has gone past it.
func (x *refusal) mayBeStored(b *persistence.Batch) bool {
	for i := range b.Events {
		if e := &b.Events[i]; x.actual[e.StreamID] < e.Version {
			return false
		}
	}
	return true
}

// stored returns the positions of the events if each is stored already.
func (s *saving) stored(ctx context.Context, events []persistence.StoredEvent) ([]int64, bool, error) {
	streams, versions := make([]string, len(events)), make([]int64, len(events))
	for i := range events {
		streams[i], versions[i] = events[i].StreamID, events[i].Version
	}
	rows, err := s.conn.Query(ctx, s.sql.storedIDs, s.r.mode, streams, versions)
	if err != nil {
		return nil, false, err
	}
	positions := make([]int64, 0, len(events))
	same := true
	var position int64
	var id string
	_, err = pgx.ForEachRow(rows, []any{&position, &id}, func() error {
		same = same && id == events[len(positions)].ID
		positions = append(positions, position)
		return nil
	})
	if err != nil || !same || len(positions) < len(events) {
		return nil, false, err
	}
	return positions, true, nil
}
