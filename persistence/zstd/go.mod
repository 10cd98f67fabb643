module github.com/annals-es/annals/persistence/zstd

go 1.26.0

require (
	github.com/annals-es/annals v0.0.0
	github.com/klauspost/compress v1.20.3
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
)

replace github.com/annals-es/annals => ../../
