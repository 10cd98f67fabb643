module github.com/annals-es/annals/examples

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/annals-es/annals v0.0.0
	github.com/annals-es/annals/postgres v0.0.0
	github.com/annals-es/annals/sqlite v0.0.0
	github.com/google/go-cmp v0.7.0
	github.com/hashicorp/golang-lru/v2 v2.0.7
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/fxamacker/cbor/v2 v2.9.6 // indirect
	github.com/huandu/go-clone v1.7.3 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

require (
	github.com/annals-es/annals/persistence/cbor v0.0.0
	github.com/annals-es/annals/persistence/zstd v0.0.0
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	golang.org/x/sys v0.49.0 // indirect
	modernc.org/libc v1.79.0 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.61.1 // indirect
)

replace (
	github.com/annals-es/annals => ../
	github.com/annals-es/annals/postgres => ../postgres
	github.com/annals-es/annals/sqlite => ../sqlite
)

replace github.com/annals-es/annals/persistence/cbor => ../persistence/cbor

replace github.com/annals-es/annals/persistence/zstd => ../persistence/zstd
