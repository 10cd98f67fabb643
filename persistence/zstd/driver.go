package zstd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/annals-es/annals/persistence"
)

// The keys of the environment.
const (
	settingLevel      = "ZSTD_LEVEL"
	settingDictionary = "ZSTD_DICTIONARY"
)

// Driver is chosen by COMPRESSOR=zstd.
var Driver = persistence.Driver{
	Name: "zstd",
	Settings: []persistence.Setting{
		{
			Key: settingLevel, Default: strconv.Itoa(defaultLevel),
			Text: "how zstd compresses: from 1, fast, to 22, small",
		},
		{
			Key:  settingDictionary,
			Text: "files of dictionaries, with commas between them: the first for new events, the others for what they compressed",
		},
	},
	Compressor: func(_ context.Context, s *persistence.Settings) (persistence.Compressor, error) {
		opts := []Option{WithLevel(int(s.Int(settingLevel, defaultLevel, minLevel, maxLevel)))}
		if d := dictionariesOf(s); len(d) > 0 {
			opts = append(opts, WithDictionary(d[0], d[1:]...))
		}
		return New(opts...), nil
	},
}

// dictionariesOf reads the files of the environment. Its errors count files, and
// quote no names.
func dictionariesOf(s *persistence.Settings) []Dictionary {
	value := s.Text(settingDictionary, "")
	if value == "" {
		return nil
	}
	var all []Dictionary
	for path := range strings.SplitSeq(value, ",") {
		b, err := os.ReadFile(strings.TrimSpace(path))
		if err != nil {
			s.Fail(settingDictionary, fmt.Sprintf("is wrong: file number %d %s", len(all)+1, unread(err)))
			return nil
		}
		d, err := ParseDictionary(b)
		if err != nil {
			s.Fail(settingDictionary, fmt.Sprintf("is wrong: file number %d is no dictionary", len(all)+1))
			return nil
		}
		all = append(all, d)
	}
	return all
}

// unread says why a file cannot be read, without its name.
func unread(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "must not be read: no permission"
	default:
		return "cannot be read"
	}
}
