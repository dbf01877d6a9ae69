package omniq

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The text form of limits is for configurations and for people:
//
//	limit = [ bounds ] [ "each" bounds ] | "none"
//	bounds = [ running ] [ rate ]
//	rate = tasks "/" time [ "+" burst ]
//
// Words are separated by spaces. A time is s, m or h for one of these, or what [time.ParseDuration] reads.

// MarshalText returns the text form of the limit: that of how many run and of the rate, and after "each" those of each lane, as in
// "50 20/s each 2 100/m+10". It is "none" for no limit.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// String returns what MarshalText does.
func (l Limit) String() string {
	words := boundWords(nil, l.Running, l.Rate)
	if l.EachLane != (LaneLimit{}) {
		words = boundWords(append(words, "each"), l.EachLane.Running, l.EachLane.Rate)
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, " ")
}

func boundWords(words []string, running int, rate Rate) []string {
	if running != 0 {
		words = append(words, strconv.Itoa(running))
	}
	if rate != (Rate{}) {
		words = append(words, rate.String())
	}
	return words
}

// UnmarshalText reads what MarshalText writes, and fails with [ErrInvalid] for anything else.
func (l *Limit) UnmarshalText(text []byte) error {
	read, err := parseLimit(string(text))
	if err != nil {
		return err
	}
	*l = read
	return nil
}

func parseLimit(text string) (l Limit, err error) {
	words := strings.Fields(text)
	if len(words) == 1 && words[0] == "none" {
		return l, nil
	}
	running, rate, lanes := &l.Running, &l.Rate, false
	for i, word := range words {
		switch {
		case word == "each" && !lanes && i < len(words)-1:
			running, rate, lanes = &l.EachLane.Running, &l.EachLane.Rate, true
		case strings.Contains(word, "/") && *rate == Rate{}:
			if *rate, err = parseRate(word); err != nil {
				return Limit{}, err
			}
		case *running == 0 && *rate == Rate{}:
			if *running, err = strconv.Atoi(word); err != nil || *running < 1 {
				return Limit{}, invalid("%.40q in a limit, want a number from 1 on, or a rate like 20/s", word)
			}
		default:
			return Limit{}, invalid(`%.40q in the limit %.100q, want at most a number and a rate, then "each" and the same of each lane`, word, text)
		}
	}
	if len(words) == 0 {
		return Limit{}, invalid("a limit is empty, want one like 50, 20/s or 50 20/s each 2, or none")
	}
	return l, l.Validate()
}

// String returns the text form of the rate, as in 20/s, 100/1m30s or, with a burst, 20/s+5. It is "none" for no rate.
func (r Rate) String() string {
	if r == (Rate{}) {
		return "none"
	}
	per := r.Per.String()
	for unit, d := range rateUnits {
		if d == r.Per {
			per = unit
		}
	}
	if r.Burst == 0 {
		return fmt.Sprintf("%d/%s", r.Tasks, per)
	}
	return fmt.Sprintf("%d/%s+%d", r.Tasks, per, r.Burst)
}

var rateUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

func parseRate(word string) (r Rate, err error) {
	tasks, rest, _ := strings.Cut(word, "/")
	per, burst, hasBurst := strings.Cut(rest, "+")
	var known bool
	if r.Per, known = rateUnits[per]; !known {
		r.Per, err = time.ParseDuration(per)
	}
	if err == nil {
		r.Tasks, err = strconv.Atoi(tasks)
	}
	if err == nil && hasBurst {
		if r.Burst, err = strconv.Atoi(burst); r.Burst < 1 {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		return Rate{}, invalid("%.40q is no rate, want one like 20/s, 100/m or, with a burst, 20/s+5", word)
	}
	return r, r.check("the rate " + word)
}
