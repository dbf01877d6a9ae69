package backendtest

// Quick lets Run leave out the few rules that take nearly all the time, those about sharing and clocks that differ, and those
// about transactions unless [Transactions] says how one is begun. It is for another Run of an engine with other settings: one
// without Quick asks all of them.
func Quick() Option { return func(c *config) { c.quick = true } }

// costly are the rules that take nearly all the time of all. They are asked of the backends that are said to break them.
var costly = []string{
	"an update that makes its task too large is refused in its place, and the others are done",
	"a task that no worker could read is refused, and nothing of its call is stored",
	"a task that is just allowed is leased as it was",
	"a result that nobody could read is refused, and the others of its call are settled",
	"an error that nobody could read is refused, and the others of its call are settled",
	"a result that is just allowed is kept as it was",
	"a result that nobody could read is not recorded",
	"an event that nobody could read is refused, and nothing of its call is kept",
	"thousands of tasks wait in their order",
	"workers at once never get the same task",
	"payloads of all sizes pass",
	"a few tasks among many that a list does not want are each in one page",
	"a task that stays in a state is in one page, whatever comes and goes meanwhile",
	"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
	"many tasks that wait for one are released, or end, with it",
	"a task whose inputs are too large together ends instead of being leased",
	"a task that waits for thousands gets all that they have left, in order",
}
