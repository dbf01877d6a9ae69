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
	"workers at once hand out no more than limits permit, and all in the end",
	"payloads of all sizes pass",
	"a few tasks among many that a list does not want are each in one page",
	"a task that stays in a state is in one page, whatever comes and goes meanwhile",
	"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
	"notes that nobody could read are refused, and the others of their call are kept",
	"notes that are just allowed are kept as they were",
	"many tasks that wait for one are released, or end, with it",
	"a task whose inputs are too large together ends instead of being leased",
	"a task that waits for thousands gets all that they have left, in order",
	"a flow that is cancelled while its members add to it ends",
	"the members of a large flow are all cancelled",
	"whatever becomes of the tasks of a graph, each ends, runs once in a life and gets its inputs",
	"dependencies that end at once release their task once",
	"settlements at once, in opposite orders, of tasks for which the same ones wait do not stop each other",
	"readers of a stream that is written meanwhile miss nothing",
}
