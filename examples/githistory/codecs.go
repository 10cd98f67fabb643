package main

import (
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/zlib"
	"github.com/annals-es/annals/persistence/zstd"
)

// codecs say how new events are stored. What any of them made is read, whatever
// they say: each import may choose others.
type codecs struct {
	Encode string `default:"json" enum:"json,cbor" help:"Encode new events as json or cbor. Default: ${default}." placeholder:"FORMAT"`

	Compress string `default:"none" enum:"none,zlib,zstd" help:"Compress new events: zlib or zstd. Default: ${default}." placeholder:"NAME"`
}

// options tell the archive. The zero value of codecs is for reading.
func (c codecs) options() []application.Option {
	var (
		transcoders = map[string]persistence.Transcoder{"json": persistence.JSON(), "cbor": cbor.New()}
		compressors = map[string]persistence.Compressor{"zlib": zlib.New(), "zstd": zstd.New()}
	)
	return []application.Option{
		application.WithTranscoder(transcoders[c.Encode], transcoders["json"], transcoders["cbor"]),
		application.WithCompressor(compressors[c.Compress], compressors["zlib"], compressors["zstd"]),
	}
}
