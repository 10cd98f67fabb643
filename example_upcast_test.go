package annals_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/annals-es/annals"
)

// What a name was in the first release, in the second, and is today.
type (
	NamedV1 struct{ Name string }
	NamedV2 struct{ First, Last string }
	Named   struct{ First, Last, Title string }
)

// Apply is that of today's shape: older ones are upcast before.
func (e Named) Apply(d *Dog) { d.Name = e.Title + " " + e.Last }

// A mapper decodes each stored event in its own shape; the upcasts make today's of it.
func ExampleUpcast() {
	dogs := annals.Define("Dog", annals.On[Named]("Named",
		annals.Upcast(func(v1 NamedV1) NamedV2 {
			first, last, _ := strings.Cut(v1.Name, " ")
			return NamedV2{first, last}
		}),
		annals.Upcast(func(v2 NamedV2) Named { return Named{v2.First, v2.Last, "Sir"} })))

	named := dogs.EventTypes()[0]
	for shape, stored := range map[int]string{1: `{"Name":"Rex Miller"}`, 2: `{"First":"Ada","Last":"Byron"}`} {
		data, err := named.Decode(shape, []byte(stored), json.Unmarshal)
		fmt.Printf("%d: %+v %v\n", shape, data, err)
	}
	// Unordered output:
	// 1: {First:Rex Last:Miller Title:Sir} <nil>
	// 2: {First:Ada Last:Byron Title:Sir} <nil>
}
