package sqlite

// WithSchemaVersion is for tests of tables that are older than the code.
func WithSchemaVersion(version int) Option {
	return option(func(c *config) error { c.schema = version; return nil })
}
