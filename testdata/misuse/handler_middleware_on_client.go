// want: cannot use trace (variable of type func(next omniq.HandlerFunc) omniq.HandlerFunc) as omniq.EnqueueMiddleware value in argument to omniq.UseEnqueue

package main

import "github.com/omniq-go/omniq"

func main() {
	trace := func(next omniq.HandlerFunc) omniq.HandlerFunc { return next }
	_, _ = omniq.NewClient(nil, omniq.UseEnqueue(trace))
}
