package systemtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/internal/child"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

// A bank, a book that notes each payment on two accounts in one step, and an audit that
// follows the book.

// Payment is the aggregate of the bank.
type Payment struct{ annals.Aggregate }

// Paid is the event of a payment.
type Paid struct {
	From, To string
	Cents    int64
}

// Apply does nothing.
func (Paid) Apply(*Payment) {}

// Account is the aggregate of the book, and of the audit.
type Account struct {
	annals.Aggregate

	Entries int
	Balance int64
}

// Entered changes an account.
type Entered struct{ Cents int64 }

// Apply changes the account.
func (e Entered) Apply(a *Account) { a.Entries++; a.Balance += e.Cents }

// The types of aggregates.
var (
	Payments = annals.Define("Payment", annals.On[Paid]("Paid"))
	Accounts = annals.Define("Account", annals.On[Entered]("Entered"))
)

// bank takes payments.
type bank struct {
	*application.Application

	payments *application.Repository[Payment]
}

func openBank(ctx context.Context, opts ...application.Option) (*bank, error) {
	app, err := application.Open(ctx, "bank", opts...)
	if err != nil {
		return nil, err
	}
	return &bank{app, application.NewRepository(app, Payments)}, nil
}

func (b *bank) pay(ctx context.Context, from, to string, cents int64) (int64, error) {
	recordings, err := b.Save(ctx, Payments.New(annals.NewID(), Paid{from, to, cents}))
	return recordings.Position(), err
}

// book is the application of accounts: the book, or the audit.
type book struct {
	*application.Application

	accounts *application.Repository[Account]

	mu   sync.Mutex
	fail func(n application.Notification) error // nil: nothing fails
}

func openBook(name string) func(ctx context.Context, opts ...application.Option) (*book, error) {
	return func(ctx context.Context, opts ...application.Option) (*book, error) {
		app, err := application.Open(ctx, name, opts...)
		if err != nil {
			return nil, err
		}
		return &book{Application: app, accounts: application.NewRepository(app, Accounts)}, nil
	}
}

func (b *book) failWith(fail func(n application.Notification) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

// Policy enters a payment on two accounts, and an entry of another book on one.
func (b *book) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	b.mu.Lock()
	fail := b.fail
	b.mu.Unlock()
	if fail != nil {
		if err := fail(n); err != nil {
			return err
		}
	}
	switch e := n.Event.Data.(type) {
	case Paid:
		if err := b.enter(ctx, p, e.From, -e.Cents); err != nil {
			return err
		}
		return b.enter(ctx, p, e.To, e.Cents)
	case Entered:
		return b.enter(ctx, p, n.Event.StreamID, e.Cents)
	}
	return nil
}

func (b *book) enter(ctx context.Context, p *application.Processing, id string, cents int64) error {
	fresh := false
	a, err := b.accounts.GetOrNew(ctx, id, func() *Account {
		fresh = true
		return Accounts.New(id, Entered{cents})
	})
	if err != nil {
		return err
	}
	if !fresh {
		annals.Trigger(a, Entered{cents})
	}
	p.Collect(a)
	return nil
}

//nolint:gochecknoglobals // the definition of a system
var (
	bankNode  = system.App("bank", openBank)
	bookNode  = system.App("book", openBook("book"))
	auditNode = system.App("audit", openBook("audit"))
	banking   = system.Define("banking", system.Pipe(bankNode, bookNode, auditNode))

	bankingNames   = []string{"bank", "book", "audit"}
	bankingMembers = []system.Member{bankNode, bookNode, auditNode}
)

// check fails unless each payment has just its two entries, each of these its one of the
// audit, and the sums are exact. All was processed.
func checkBooks(tb testing.TB, r *system.Runner) (payments int) {
	tb.Helper()
	caused := func(a *application.Application) (map[string]int, []annals.Event) {
		by := make(map[string]int)
		var all []annals.Event
		for n, err := range a.Notifications(tb.Context()) {
			if err != nil {
				tb.Fatal(err)
			}
			all = append(all, n.Event)
			by[n.Event.Metadata.CausationID]++
		}
		return by, all
	}
	_, paid := caused(bankNode.In(r).Application)
	byPayment, entries := caused(bookNode.In(r).Application)
	byEntry, audited := caused(auditNode.In(r).Application)
	for _, e := range paid {
		if n := byPayment[e.ID]; n != 2 {
			tb.Errorf("payment %s has %d entries", e.ID, n)
		}
	}
	sum := int64(0)
	stories := make(map[string]string)
	for _, e := range entries {
		if n := byEntry[e.ID]; n != 1 {
			tb.Errorf("entry %s has %d of the audit", e.ID, n)
		}
		stories[e.ID] = e.Metadata.CorrelationID
		sum += e.Data.(Entered).Cents //nolint:forcetypeassert // the only type
	}
	for _, e := range audited {
		if got, want := e.Metadata.CorrelationID, stories[e.Metadata.CausationID]; got != want {
			tb.Errorf("entry %s is of the story %s, want %s", e.ID, got, want)
		}
	}
	if len(entries) != 2*len(paid) || len(audited) != len(entries) || sum != 0 {
		tb.Errorf("%d payments, %d entries, %d of the audit, sum %d", len(paid), len(entries), len(audited), sum)
	}
	return len(paid)
}

const (
	envChild     = "ANNALS_SYSTEMTEST_CHILD"
	envAddresses = "ANNALS_SYSTEMTEST_ADDRESSES"
	envRole      = "ANNALS_SYSTEMTEST_ROLE"
)

const (
	rolePay     = "pay"     // pays and follows
	roleStandBy = "standby" // pays and follows, with the lease that is the default
)

// Child plays the child process of a test, if this process is one; then it ends the
// process. A test's program with this suite calls it first, for each backend.
func Child(b Backend) {
	if os.Getenv(envChild) != b.Name {
		return
	}
	if err := b.child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:revive // a test's program calls it first
	}
	os.Exit(0) //nolint:revive // as above
}

func (b *Backend) spawn(tb testing.TB, addresses []string, role string) *child.Process {
	tb.Helper()
	return child.Spawn(tb, envChild+"="+b.Name, envAddresses+"="+strings.Join(addresses, "\n"), envRole+"="+role)
}

// child runs the system until its parent is gone, says a line for each step of a follower,
// and pays a hundred times from each of two goroutines.
func (b *Backend) child() error {
	ctx, cancel := child.Context()
	defer cancel()
	recorders, err := b.open(ctx, bankingNames, strings.Split(os.Getenv(envAddresses), "\n"))
	if err != nil {
		return err
	}
	defer recorders.close()
	opts := append(recorders.options(bankingMembers), following()...)
	if os.Getenv(envRole) == roleStandBy {
		opts = append(opts, defaultLease)
	}
	opts = append(opts, system.WithApplications(application.WithCache(100)))
	r, err := system.RunAsync(ctx, banking, append(opts, system.WithHook(func(s system.Status) {
		if s.Handled > 0 {
			_, _ = fmt.Fprintln(os.Stdout, "at", s.Position)
		}
	}))...)
	if err != nil {
		return err
	}
	var payers sync.WaitGroup
	for i := range 2 {
		payers.Go(func() {
			for n := range 100 {
				id := accountID(os.Getpid()*10 + n/20)
				if _, err := bankNode.In(r).pay(ctx, id, accountID(n%5+i), int64(n)); err != nil {
					return
				}
			}
		})
	}
	<-r.Done()
	payers.Wait()
	return r.Stop()
}

func accountID(i int) string { return fmt.Sprintf("account %d", i) }

// defaultLease is what a program has that says nothing.
//
//nolint:gochecknoglobals // a constant
var defaultLease = system.WithFollowers(projection.WithLease(3 * time.Second))

// following are the options of followers in tests: nothing may fail, and a process that was
// killed is not waited for.
func following() []system.Option {
	return []system.Option{system.WithFollowers(
		projection.WithLease(lease), projection.WithBatch(20, batchTime), projection.WithFailures(1, 0, 0, projection.Stop))}
}
