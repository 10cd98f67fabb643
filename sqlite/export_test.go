package sqlite

// WithSchemaVersion is for tests of tables that are older than the code.
func WithSchemaVersion(version int) Option {
	return option(func(c *config) error { c.schema = version; return nil })
}

// TakeReaders takes all connections that read, until release is called.
func (r *Recorder) TakeReaders() (release func()) {
	for range cap(r.readers) {
		r.readers <- struct{}{}
	}
	return func() {
		for range cap(r.readers) {
			<-r.readers
		}
	}
}
