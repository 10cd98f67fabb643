package correlation

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The headers of W3C Trace Context, and the keys under which metadata have them.
const (
	headerParent, keyParent = "Traceparent", "traceparent"
	headerState, keyState   = "Tracestate", "tracestate"
)

const (
	maxState   = 512 // what the standard wants passed on at least, in bytes
	maxMembers = 32  // entries that a tracestate may have
	bigMember  = 128 // an entry longer than this is left out first
)

// A trace is what the headers of W3C Trace Context say.
type trace struct {
	id     string // 32 hexadecimal digits
	parent string // traceparent, in the form of version 00
	state  string // tracestate
}

// traceOf returns the trace of a request; false if it has none. Without a valid
// traceparent, tracestate means nothing.
func traceOf(h http.Header) (t trace, ok bool) {
	parents := h.Values(headerParent)
	if len(parents) != 1 {
		return trace{}, false
	}
	t.parent, ok = parseParent(parents[0])
	if !ok {
		return trace{}, false
	}
	t.id = t.parent[3:35]
	t.state = parseState(h.Values(headerState))
	return t, true
}

// parseParent returns a traceparent in the form of version 00. Of later versions
// that is the part which they have in common, with the flag that is defined.
func parseParent(s string) (string, bool) {
	const size = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return "", false
	}
	version, traceID, parentID, flags := s[:2], s[3:35], s[36:52], s[53:size]
	if !isHex(version) || !isHex(traceID) || !isHex(parentID) || !isHex(flags) || isZero(traceID) || isZero(parentID) {
		return "", false
	}
	switch {
	case version == "ff":
		return "", false
	case version == "00":
		return s, len(s) == size
	case len(s) > size && s[size] != '-':
		return "", false
	}
	bits, _ := strconv.ParseUint(flags, 16, 8) // two hexadecimal digits
	return "00" + s[2:53] + "0" + strconv.FormatUint(bits&1, 10), true
}

func isHex(s string) bool  { return strings.Trim(s, "0123456789abcdef") == "" }
func isZero(s string) bool { return strings.Trim(s, "0") == "" }

// parseState returns the entries of a tracestate, which may come in several
// headers, as one; "" if one of them is not valid. As the standard says, what is too
// long loses whole entries: long ones first, then the last.
func parseState(values []string) string {
	var members []string
	size := -1 // there is a comma less than members
	for _, value := range values {
		for member := range strings.SplitSeq(value, ",") {
			member = strings.Trim(member, " \t")
			if member == "" {
				continue
			}
			if len(members) == maxMembers || !isMember(member) {
				return ""
			}
			members = append(members, member)
			size += len(member) + 1
		}
	}
	for i := len(members) - 1; i >= 0 && size > maxState; i-- {
		if n := len(members[i]); n > bigMember {
			members = slices.Delete(members, i, i+1)
			size -= n + 1
		}
	}
	for size > maxState {
		last := len(members) - 1
		size -= len(members[last]) + 1
		members = members[:last]
	}
	return strings.Join(members, ",")
}

// isMember reports whether s is an entry of a tracestate: a key, which names a
// vendor, and a value that only the vendor knows, both of at most 256 characters.
func isMember(s string) bool {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" || len(key) > 256 || value == "" || len(value) > 256 {
		return false
	}
	if !isLowerOrDigit(key[0]) {
		return false
	}
	for i := range len(key) {
		if !isLowerOrDigit(key[i]) && strings.IndexByte("_-*/@", key[i]) < 0 {
			return false
		}
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' || value[i] == '=' {
			return false
		}
	}
	return true
}

func isLowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
