package application_test

import (
	"context"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence/hashchain"
)

// Verify follows the hash chains. What it gives to note is compared by the next one.
func ExampleApplication_Verify() {
	ctx := context.Background()
	app, err := application.Open(ctx, "dogschool", application.WithHashChain(), application.WithTypes(Dogs))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer app.Close()           //nolint:errcheck // in memory
	var noted hashchain.LogHead // is kept elsewhere
	for _, name := range []string{"Fido", "Rex"} {
		if _, err := app.Save(ctx, Dogs.New(annals.NewID(), Registered{Name: name})); err != nil {
			fmt.Println(err)
			return
		}
		report, err := app.Verify(ctx, hashchain.Config{Log: &noted, HashedFrom: 1})
		fmt.Println(report.Events, report.Hashed, err)
		noted = report.Head
	}
	noted.Digest[0]++ // as if something else had been there
	report, _ := app.Verify(ctx, hashchain.Config{Log: &noted})
	fmt.Println(report.Problems)
	// Output:
	// 1 1 <nil>
	// 2 2 <nil>
	// [the log up to position 2: not what was noted]
}
