// Package tasks is what the producer and the worker have in common: the tasks, without the code that does them.
package tasks

import (
	"time"

	"github.com/omniq-go/omniq"
)

// Order is the positional arguments of [Ship].
type Order struct {
	ID   int
	City string
}

// Label is what [Ship] returns.
type Label struct {
	Tracking string `json:"tracking"`
}

// Ship sends an order on its way.
var Ship = omniq.ReferArgs[Order, Label]("orders.ship", omniq.Queue("orders"), omniq.Timeout(time.Minute))
