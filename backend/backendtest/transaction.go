package backendtest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Tx is a transaction of the caller's, as [omniq.Transactor] takes it.
type Tx struct {
	Tx       any
	Commit   func() error
	Rollback func() error
}

// Transactions gives Run a way to open new and empty backends, and to begin transactions on the store of each, one at a
// time. An engine whose Capabilities say Transactions needs it: the rules about transactions are asked of these. The backends
// keep events if the engine can. While a transaction is open, the rules only read.
func Transactions(open func(t *testing.T) (b omniq.Backend, begin func() Tx)) Option {
	return func(c *config) { c.transactions = open }
}

// transactionRule says what holds for transactions.
type transactionRule struct {
	name  string
	check func(c *transactor)
	needs func(omniq.Capabilities) bool // whether it is asked of an engine; nil: of each
}

// transactor is a checker with a way to begin transactions.
type transactor struct {
	*checker
	beginTx func() Tx
}

// runTransactions asks the rules about transactions of an engine that claims to have them.
func (cfg *config) runTransactions(t *testing.T, caps omniq.Capabilities) {
	if !caps.Transactions && cfg.transactions == nil {
		return
	}
	if cfg.transactions == nil {
		t.Errorf("%s says that it has Transactions, and nothing says how one is begun: give Run the option Transactions", caps.Name)
		return
	}
	for _, r := range slices.Concat(transactionRules, transactionFlowRules, transactionHistoryRules) {
		t.Run(subtest("transaction: "+r.name), func(t *testing.T) {
			t.Parallel()
			b, begin := cfg.transactions(t)
			t.Cleanup(func() { assert.NoError(t, b.Close()) })
			if r.needs != nil && !r.needs(b.Capabilities()) {
				t.Logf("not asked: %s does not promise it", caps.Name)
				return
			}
			r.check(&transactor{&checker{T: t, rule: r.name, b: b}, begin})
		})
	}
}

// tx is a transaction, and what the engine makes of it.
type tx struct {
	Tx
	omniq.Transaction
}

// begin begins a transaction.
func (c *transactor) begin() tx {
	c.Helper()
	t, ok := c.b.(omniq.Transactor)
	require.True(c, ok, "%s says that it has Transactions, and is no Transactor", c.b.Capabilities().Name)
	begun := c.beginTx()
	in, err := t.Transaction(begun.Tx)
	require.NoError(c, err)
	return tx{begun, in}
}

// enqueueIn stores tasks in a transaction, all of which must be new.
func (c *transactor) enqueueIn(in tx, tasks ...*omniq.RawTask) {
	c.Helper()
	errs, err := in.Enqueue(c.Context(), tasks)
	require.NoError(c, err)
	for _, err := range errs {
		require.NoError(c, err)
	}
}

// settleIn settles a lease in a transaction, and returns what became of it.
func (c *transactor) settleIn(in tx, s omniq.Settlement) error {
	c.Helper()
	return c.only(in.Settle(c.Context(), []omniq.Settlement{s}))
}
