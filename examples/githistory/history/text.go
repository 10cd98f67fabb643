package history

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Path is the path of a file in a repository: bytes without NUL, which git does
// not require to be UTF-8. As text, and so in stored events, UTF-8 stands for
// itself, a backslash is written \\, and each byte that is not UTF-8 is written
// \xff. Every path comes back from its text byte by byte.
type Path string

// Text is a name or an e-mail address as git has it: it may be empty, and need not
// be UTF-8. Its text is escaped as that of a [Path].
type Text string

// MarshalText returns the escaped path, which is UTF-8.
func (p Path) MarshalText() ([]byte, error) { return escape(string(p)), nil }

// UnmarshalText takes what MarshalText returned. Any other text is an error, so
// that a path has one text only.
func (p *Path) UnmarshalText(text []byte) error {
	raw, err := unescape(text)
	*p = Path(raw)
	return err
}

// MarshalText returns the escaped text, which is UTF-8.
func (t Text) MarshalText() ([]byte, error) { return escape(string(t)), nil }

// UnmarshalText takes what MarshalText returned. Any other text is an error.
func (t *Text) UnmarshalText(text []byte) error {
	raw, err := unescape(text)
	*t = Text(raw)
	return err
}

const hexDigits = "0123456789abcdef"

func escape(raw string) []byte {
	text := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		r, size := utf8.DecodeRuneInString(raw)
		switch {
		case r == utf8.RuneError && size == 1:
			text = append(text, '\\', 'x', hexDigits[raw[0]>>4], hexDigits[raw[0]&0xf])
		case r == '\\':
			text = append(text, '\\', '\\')
		default:
			text = append(text, raw[:size]...)
		}
		raw = raw[size:]
	}
	return text
}

func unescape(text []byte) (string, error) {
	var raw strings.Builder
	raw.Grow(len(text))
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			raw.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '\\':
			raw.WriteByte('\\')
			i++
		case i+3 < len(text) && text[i+1] == 'x':
			high, low := strings.IndexByte(hexDigits, text[i+2]), strings.IndexByte(hexDigits, text[i+3])
			if high < 0 || low < 0 {
				return "", fmt.Errorf("history: the escape at byte %d is not \\x and two digits", i)
			}
			raw.WriteByte(byte(high<<4 | low)) //nolint:gosec // both are below 16
			i += 3
		default:
			return "", fmt.Errorf("history: the backslash at byte %d begins no escape", i)
		}
	}
	if !bytes.Equal(escape(raw.String()), text) {
		return "", fmt.Errorf("history: the text escapes what needs no escape, or is not UTF-8")
	}
	return raw.String(), nil
}
