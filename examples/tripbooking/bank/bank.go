// Package bank stands for a payment service out there. As a real one does, it takes a key
// with each call, and remembers what it has answered.
package bank

import (
	"context"
	"fmt"
	"sync"

	"github.com/annals-es/annals/examples/tripbooking/applications"
)

// Fake is a bank in memory. It is safe for concurrent use.
type Fake struct {
	limit int

	mu       sync.Mutex
	answers  map[string]string // by key
	accounts map[string]int
	calls    int
}

// New returns a bank that refuses what is above the limit.
func New(limit int) *Fake {
	return &Fake{limit: limit, answers: make(map[string]string), accounts: make(map[string]int)}
}

var _ applications.Gateway = (*Fake)(nil)

// Charge charges a customer once for each key, or says why not.
func (f *Fake) Charge(_ context.Context, c applications.Call) (refused string, err error) {
	return f.call(c.Key, func() string {
		if c.Amount > f.limit {
			return fmt.Sprintf("payment refused: %d is above the limit of %d", c.Amount, f.limit)
		}
		f.accounts[c.Trip] += c.Amount
		return ""
	}), nil
}

// Refund gives money back once for each key.
func (f *Fake) Refund(_ context.Context, c applications.Call) error {
	f.call(c.Key, func() string {
		f.accounts[c.Trip] -= c.Amount
		return ""
	})
	return nil
}

func (f *Fake) call(key string, work func() string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	answer, known := f.answers[key]
	if !known {
		answer = work()
		f.answers[key] = answer
	}
	return answer
}

// Paid returns what is paid for a trip.
func (f *Fake) Paid(trip string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accounts[trip]
}

// Calls returns how often the bank was called.
func (f *Fake) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
