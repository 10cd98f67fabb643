package system

import (
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
)

// Option sets a property of a [Runner].
type Option interface{ apply(c *config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

type config struct {
	applications []application.Option
	application  map[*member][]application.Option
	followers    []projection.Option
	follower     map[*member][]projection.Option
	hook         func(Status)
}

func configure(s *System, opts []Option) (*config, error) {
	c := &config{application: make(map[*member][]application.Option), follower: make(map[*member][]projection.Option)}
	for _, o := range opts {
		if err := o.apply(c); err != nil {
			return nil, fmt.Errorf("system %s: %w", s.name, err)
		}
	}
	for m := range c.application {
		if s.number(m) == 0 {
			return nil, fmt.Errorf("system %s: WithApplication: it has no application %s: %w", s.name, m.name, annals.ErrConfiguration)
		}
	}
	for m := range c.follower {
		if s.number(m) == 0 {
			return nil, fmt.Errorf("system %s: WithFollower: it has no application %s: %w", s.name, m.name, annals.ErrConfiguration)
		}
	}
	return c, nil
}

// WithApplications opens every application with the options. [application.FromEnviron] is
// the one that says all: each application finds its own settings, and then the common ones.
func WithApplications(opts ...application.Option) Option {
	return option(func(c *config) error { c.applications = append(c.applications, opts...); return nil })
}

// WithApplication opens one application with the options, which go behind those of all.
func WithApplication(app Member, opts ...application.Option) Option {
	return option(func(c *config) error {
		if app == nil || app.member() == nil {
			return fmt.Errorf("WithApplication: the application is nil: %w", annals.ErrConfiguration)
		}
		c.application[app.member()] = append(c.application[app.member()], opts...)
		return nil
	})
}

// WithFollowers says how applications follow others, by the options of projections:
// [projection.WithFailures] for retries and for stop, skip or park, [projection.WithBatch],
// [projection.WithLease], and so on. A follower has one partition, and one version.
//
// Default: those of projections; of [RunSync], that an event whose policy fails is not tried
// again.
func WithFollowers(opts ...projection.Option) Option {
	return option(func(c *config) error { c.followers = append(c.followers, opts...); return nil })
}

// WithFollower says how one application follows others, by options that go behind those of
// all.
func WithFollower(app Member, opts ...projection.Option) Option {
	return option(func(c *config) error {
		if app == nil || app.member() == nil {
			return fmt.Errorf("WithFollower: the application is nil: %w", annals.ErrConfiguration)
		}
		c.follower[app.member()] = append(c.follower[app.member()], opts...)
		return nil
	})
}

// WithHook calls a function with the status of a follower when it has changed, see
// [projection.WithHook]. It is called by one goroutine at a time. Default: none.
func WithHook(f func(Status)) Option {
	return option(func(c *config) error {
		if f == nil {
			return fmt.Errorf("WithHook: the function is nil: %w", annals.ErrConfiguration)
		}
		c.hook = f
		return nil
	})
}
