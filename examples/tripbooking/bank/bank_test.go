package bank_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/examples/tripbooking/applications"
	"github.com/annals-es/annals/examples/tripbooking/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestARepeatedCallChargesOnceAndHasTheSameAnswer(t *testing.T) {
	t.Parallel()
	b := bank.New(1000)
	for range 3 {
		refused, err := b.Charge(t.Context(), applications.Call{Key: "event-1", Trip: "a", Customer: "Ada", Amount: 700})
		if refused != "" || err != nil {
			t.Errorf("%q, %v", refused, err)
		}
		refused, err = b.Charge(t.Context(), applications.Call{Key: "event-2", Trip: "b", Customer: "Ben", Amount: 1700})
		if refused == "" || err != nil {
			t.Errorf("%q, %v", refused, err)
		}
	}
	if a, b := b.Paid("a"), b.Paid("b"); a != 700 || b != 0 {
		t.Errorf("%d and %d are paid", a, b)
	}
	for range 2 {
		if err := b.Refund(t.Context(), applications.Call{Key: "event-3", Trip: "a", Amount: 700}); err != nil {
			t.Error(err)
		}
	}
	if a := b.Paid("a"); a != 0 {
		t.Errorf("%d are paid", a)
	}
}
