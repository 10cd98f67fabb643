module github.com/annals-es/annals

go 1.26

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/google/go-cmp v0.7.0
	github.com/google/uuid v1.6.0
	github.com/hashicorp/golang-lru/v2 v2.0.7
	github.com/huandu/go-clone v1.7.3
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)
