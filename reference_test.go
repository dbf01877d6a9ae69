package omniq_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/omniq-go/omniq/codec"
)

// The reference decoder: slow, plain, and written from wire.md's table with the standard library, so that the fast one
// can be held against it. It says only whether a document is accepted.

type object struct {
	keys   []string
	values map[string][]byte // the last one of each key
}

// refDocument splits a document that keeps the rules which hold for every part of it.
func refDocument(data []byte) (object, error) {
	o := object{values: make(map[string][]byte)}
	switch {
	case len(data) > codec.MaxSize:
		return o, errors.New("size")
	case !utf8.Valid(data):
		return o, errors.New("UTF-8")
	case !json.Valid(data):
		return o, errors.New("syntax")
	case refDepth(data) > codec.MaxDepth:
		return o, errors.New("depth")
	case refLoneSurrogate(data):
		return o, errors.New("surrogate")
	case refHugeNumber(data):
		return o, errors.New("number")
	}
	return refObject(data)
}

func refObject(data []byte) (object, error) {
	o := object{values: make(map[string][]byte)}
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return o, errors.New("no object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return o, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return o, err
		}
		o.keys = append(o.keys, key.(string))
		o.values[key.(string)] = value
	}
	return o, nil
}

func refDepth(data []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

var (
	refEscape = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)
	refNumber = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?`)
	refString = regexp.MustCompile(`"(\\.|[^"\\])*"`)
)

func refLoneSurrogate(data []byte) bool {
	end, high := -1, false // where a high surrogate ends that waits for its partner
	for _, m := range refEscape.FindAllIndex(data, -1) {
		r := int64(0)
		if data[m[0]+1] == 'u' {
			r, _ = strconv.ParseInt(string(data[m[0]+2:m[1]]), 16, 32)
		}
		low := r >= 0xDC00 && r <= 0xDFFF
		if high && (!low || m[0] != end) || !high && low {
			return true
		}
		high = !high && r >= 0xD800 && r <= 0xDBFF
		end = m[1]
	}
	return high
}

func refHugeNumber(data []byte) bool {
	for _, n := range refNumber.FindAll(refString.ReplaceAll(data, []byte(`""`)), -1) {
		if _, err := strconv.ParseFloat(string(n), 64); err != nil {
			return true
		}
	}
	return false
}

var refIDForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$|^[0-9a-fA-F]{32}$`)

func refID(v []byte) bool {
	var s string
	return v[0] == '"' && json.Unmarshal(v, &s) == nil && refIDForm.MatchString(s)
}

var refTimeForm = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?$`)

func refTime(v []byte) bool {
	var s string
	if v[0] != '"' || json.Unmarshal(v, &s) != nil {
		return false
	}
	m := refTimeForm.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	zone := strings.ReplaceAll(strings.ToUpper(m[4]), ":", "")
	if zone == "" || zone == "Z" {
		zone = "+0000"
	}
	if hours, minutes := zone[1:3], zone[3:]; hours > "23" || minutes > "59" {
		return false
	}
	t, err := time.Parse("2006-01-02 15:04:05 -0700", m[1]+" "+m[2]+" "+zone)
	if err != nil || m[1] < "0001" {
		return false
	}
	if len(m[3]) > 7 && m[3][1:7] == "999999" && m[3][7] >= '5' {
		t = t.Add(time.Second)
	}
	y := t.UTC().Year()
	return y >= 1 && y <= 9999
}

var refDurationForm = regexp.MustCompile(`^[+-]?P(?:([0-9]+)(\.[0-9]+)?D)?(T(?:([0-9]+)(\.[0-9]+)?H)?(?:([0-9]+)(\.[0-9]+)?M)?(?:([0-9]+)(\.[0-9]+)?S)?)?$`)

func refDuration(v []byte) bool {
	var s string
	if v[0] != '"' || json.Unmarshal(v, &s) != nil {
		return false
	}
	m := refDurationForm.FindStringSubmatch(strings.Map(func(r rune) rune { // ASCII only: regexp's (?i) folds more
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s))
	if m == nil || len(m[3]) == 1 || m[1] == "" && m[3] == "" {
		return false
	}
	total, fraction := new(big.Rat), false
	for _, part := range []struct {
		whole, frac string
		seconds     int64
	}{{m[1], m[2], 86400}, {m[4], m[5], 3600}, {m[6], m[7], 60}, {m[8], m[9], 1}} {
		if part.whole == "" {
			continue
		}
		if fraction {
			return false
		}
		fraction = part.frac != ""
		n, _ := new(big.Rat).SetString(part.whole + part.frac)
		total.Add(total, n.Mul(n, big.NewRat(part.seconds*1_000_000, 1)))
	}
	total.Add(total, big.NewRat(1, 2))
	micros := new(big.Int).Quo(total.Num(), total.Denom())
	return micros.Cmp(big.NewInt(1<<63/1000)) <= 0
}

func refInt(v []byte) bool {
	_, err := strconv.ParseInt(string(v), 10, 64)
	return err == nil
}

func refIsString(v []byte) bool { return v[0] == '"' }

func orNull(f func([]byte) bool) func([]byte) bool {
	return func(v []byte) bool { return v[0] == 'n' || f(v) }
}

func begins(c byte) func([]byte) bool { return func(v []byte) bool { return v[0] == c } }

func anything([]byte) bool { return true }

func oneOf(names ...string) func([]byte) bool {
	return func(v []byte) bool {
		var s string
		if v[0] != '"' || json.Unmarshal(v, &s) != nil {
			return false
		}
		return slices.Contains(names, s)
	}
}

// refMembers checks the members that are known, each of which may stand there once.
func refMembers(o object, known map[string]func([]byte) bool, required ...string) bool {
	seen := make(map[string]bool)
	for _, key := range o.keys {
		check, ok := known[key]
		if !ok {
			continue
		}
		if seen[key] || !check(o.values[key]) {
			return false
		}
		seen[key] = true
	}
	for _, key := range required {
		if !seen[key] {
			return false
		}
	}
	return true
}

func refError(v []byte) bool {
	o, err := refObject(v)
	return err == nil && refMembers(o, map[string]func([]byte) bool{
		"type": refIsString, "message": refIsString, "stack": refIsString,
		"retryable": func(v []byte) bool { return v[0] == 't' || v[0] == 'f' },
	})
}

func refMetadata(v []byte) bool {
	o, err := refObject(v)
	if err != nil || len(o.values) != len(o.keys) {
		return false
	}
	for _, value := range o.values {
		if !refIsString(value) {
			return false
		}
	}
	return true
}

func refTask(data []byte) bool {
	o, err := refDocument(data)
	return err == nil && refMembers(o, map[string]func([]byte) bool{
		"id": refID, "func_name": refIsString, "args": begins('['), "kwargs": begins('{'), "created_at": refTime,
		"ttl": orNull(refDuration), "queue": refIsString, "priority": refInt, "run_at": refTime, "max_attempts": refInt,
		"timeout": refDuration, "result_ttl": orNull(refDuration), "metadata": refMetadata,
		"unique_key": refIsString, "unique_for": refDuration, "codec": refIsString,
		"delay": refDuration, "failure_ttl": orNull(refDuration), "id_for": refDuration, "lane": refIsString,
		"on_held": oneOf("REFUSE", "REPLACE", "BEHIND"), "replace_within": refDuration,
		"keep_task": func(v []byte) bool { return v[0] == 't' || v[0] == 'f' },
	}, "id", "func_name", "args", "kwargs", "created_at")
}

func refResult(data []byte) bool {
	o, err := refDocument(data)
	return err == nil && refMembers(o, map[string]func([]byte) bool{
		"task_id": refID, "status": oneOf("PENDING", "RUNNING", "SUCCESS", "FAILURE", "CANCELLED", "EXPIRED"),
		"result_data": anything, "timestamp": refTime, "ttl": orNull(refDuration), "error": orNull(refError),
		"attempts": refInt, "codec": refIsString,
	}, "task_id", "status", "result_data", "timestamp")
}

func refEvent(data []byte) bool {
	o, err := refDocument(data)
	return err == nil && refMembers(o, map[string]func([]byte) bool{
		"task_id":    refID,
		"event_type": oneOf("ENQUEUED", "STARTED", "COMPLETED", "FAILED", "RETRIED", "CANCELLED", "EXPIRED"),
		"timestamp":  refTime, "worker_id": orNull(refIsString), "attempt": refInt, "queue": refIsString, "error": orNull(refError),
	}, "task_id", "event_type", "timestamp")
}
