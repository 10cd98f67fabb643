package cbor_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
)

type order struct{ annals.Aggregate }

type placed struct {
	ID    uuid.UUID
	At    time.Time
	Paid  transcodertest.Money
	Price transcodertest.Decimal
	Each  map[string][]*transcodertest.Decimal
}

func (placed) Apply(*order) {}

var orders = annals.Define("Order", annals.On[placed]("Placed"))

// B12, B15: JSON and CBOR in one log, with types by registration, whichever was first.
func TestJSONAndCBORReadEachOthersEvents(t *testing.T) {
	t.Parallel()
	mapper := func(transcoder persistence.Transcoder, readers ...persistence.Transcoder) *persistence.Mapper {
		m, err := persistence.NewMapper(persistence.MapperConfig{Transcoder: transcoder, Transcoders: readers})
		if err == nil {
			err = m.Register(orders)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	decimals := persistence.StoreAs(transcodertest.Decimal.String, transcodertest.ParseDecimal)
	price := transcodertest.NewDecimal(1999, 2)
	e := annals.Event{
		ID: "e1", StreamID: "o1", Version: 1, Topic: "Order.Placed", Time: time.Date(2024, 1, 2, 3, 4, 5, 6, time.UTC),
		Data: placed{
			ID: uuid.UUID{7}, At: time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", -5*3600)),
			Paid: transcodertest.NewMoney(1999), Price: price, Each: map[string][]*transcodertest.Decimal{"a": {&price, nil}},
		},
	}
	both := map[string]*persistence.Mapper{
		"1:json": mapper(persistence.JSON(decimals), cbor.New(decimals)),
		"1:cbor": mapper(cbor.New(decimals), persistence.JSON(decimals)),
	}
	for encoding, writer := range both {
		stored, err := writer.Encode(t.Context(), &e)
		if err != nil || stored.Encoding != encoding {
			t.Fatalf("%s: the encoding is %q, the error %v", encoding, stored.Encoding, err)
		}
		for name, reader := range both {
			got, err := reader.Decode(t.Context(), &stored)
			if diff := cmp.Diff(e, got, transcodertest.Exactly); err != nil || diff != "" {
				t.Errorf("%s, read where new events are %s: %v\n%s", encoding, name, err, diff)
			}
		}
		// A reader needs the mapping as well; JSON without one is always there.
		for name, reader := range map[string]*persistence.Mapper{
			"without the mapping": mapper(persistence.JSON(), cbor.New()), "the other one only": mapper(map[string]persistence.Transcoder{
				"1:json": cbor.New(decimals), "1:cbor": persistence.JSON(decimals),
			}[encoding]),
		} {
			got, err := reader.Decode(t.Context(), &stored)
			var typed *persistence.DecodeError
			if !errors.As(err, &typed) || typed.StreamID != "o1" || strings.Contains(err.Error(), "1999") {
				t.Errorf("%s, %s: got %v and the error %v", encoding, name, got.Data, err)
			}
		}
	}
}
