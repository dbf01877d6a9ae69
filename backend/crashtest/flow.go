package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

const (
	flowProducer = "flow producer"
	flowWorker   = "flow worker"
)

// The tasks of a flow. Split brings parts and hands over to them; the leaves, a fan-out, each wait for split, sum for all
// leaves, and next for sum. Next brings audit, which waits for it.
const (
	split = "crashtest.split"
	part  = "crashtest.part"
	leaf  = "crashtest.leaf"
	sum   = "crashtest.sum"
	next  = "crashtest.next"
	audit = "crashtest.audit"
)

// shape is what a flow consists of. It follows from the flow's ID, as do the IDs of its tasks and their results.
type shape struct {
	flow          uuid.UUID
	parts, leaves int
	base          int
}

func shapeOf(flow uuid.UUID) shape {
	return shape{flow: flow, parts: 1 + int(flow[0])%4, leaves: 1 + int(flow[1])%6, base: int(flow[2])}
}

// id is that of the i-th task of a name.
func (s shape) id(name string, i int) uuid.UUID {
	return uuid.NewSHA1(s.flow, []byte(name+strconv.Itoa(i)))
}

// members is how many tasks the flow has in the end.
func (s shape) members() int { return 1 + s.parts + s.leaves + 3 }

// end is the result of the flow's last task.
func (s shape) end() int {
	split := 0
	for i := range s.parts {
		split += s.base + i
	}
	sum := 0
	for i := range s.leaves {
		sum += split + i
	}
	return 2 * (sum + 1)
}

// task is the i-th task of a name, which waits for others.
func (s shape) task(name string, i int, after ...uuid.UUID) *omniq.RawTask {
	t := &omniq.RawTask{
		ID: s.id(name, i), FuncName: name, Args: omniq.Raw(fmt.Sprintf("[%d]", i)), Kwargs: omniq.Raw("{}"),
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond), Flow: s.flow,
	}
	for _, id := range after {
		t.After = append(t.After, omniq.Dependency{ID: id, Input: true})
	}
	return t
}

// tasks are those that are enqueued first.
func (s shape) tasks() []*omniq.RawTask {
	all := []*omniq.RawTask{s.task(split, 0)}
	var leaves []uuid.UUID
	for i := range s.leaves {
		all = append(all, s.task(leaf, i, s.id(split, 0)))
		leaves = append(leaves, s.id(leaf, i))
	}
	return append(all, s.task(sum, 0, leaves...), s.task(next, 0, s.id(sum, 0)))
}

// produceFlows enqueues flows one by one from two goroutines.
func produceFlows(ctx context.Context, b omniq.Backend) error {
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				s := shapeOf(uuid.New())
				say(line(wordTry, s.flow, 0))
				errs[i] = insist(func() error {
					_, err := b.Enqueue(context.Background(), s.tasks())
					return err
				})
				if errs[i] == nil {
					say(line(wordStored, s.flow, 0))
				}
				pause(ctx, rand.N(100*time.Millisecond))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// insist makes a call again while it fails, as the runtime does: an engine does not.
func insist(call func() error) error {
	var err error
	for range 20 {
		if err = call(); err == nil {
			return nil
		}
		pause(context.Background(), 100*time.Millisecond)
	}
	return err
}

// workFlows works the tasks of flows, several at once.
func workFlows(ctx context.Context, b omniq.Backend) error {
	lease, err := time.ParseDuration(os.Getenv(leaseVariable))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				var leases []omniq.Lease
				errs[i] = insist(func() (err error) {
					leases, err = b.Lease(context.Background(), omniq.LeaseRequest{
						Queues: []string{omniq.DefaultQueue}, Max: 2, Duration: lease, Wait: 200 * time.Millisecond, WorkerID: uuid.NewString(),
					})
					return err
				})
				for _, l := range leases {
					errs[i] = errors.Join(errs[i], workFlow(b, l))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// workFlow makes one attempt at a task of a flow. An error says that the backend has not kept its word.
func workFlow(b omniq.Backend, l omniq.Lease) error {
	pause(context.Background(), rand.N(10*time.Millisecond))
	s := omniq.Settlement{
		LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: rand.N(20 * time.Millisecond),
		Error: &omniq.TaskError{Type: "crashtest", Message: "this one fails at times", Retryable: true},
	}
	if rand.IntN(8) > 0 {
		if err := finishFlow(l, &s); err != nil {
			return fmt.Errorf("task %v, %s, attempt %d, resumed %v: %w", l.TaskID, l.Task.FuncName, l.Attempt, l.Resumed, err)
		}
	}
	var errs []error
	if err := insist(func() (err error) { errs, err = b.Settle(context.Background(), []omniq.Settlement{s}); return err }); err != nil {
		return err
	}
	if errs != nil && errs[0] != nil && !errors.Is(errs[0], omniq.ErrLeaseLost) {
		return fmt.Errorf("settle task %v, %s: %w", l.TaskID, l.Task.FuncName, errs[0])
	}
	return nil
}

// finishFlow makes a settlement of what a task returns, brings and waits for.
func finishFlow(l omniq.Lease, s *omniq.Settlement) error {
	of := shapeOf(l.Task.Flow)
	var i int
	if _, err := fmt.Sscanf(string(l.Task.Args), "[%d]", &i); err != nil {
		return err
	}
	inputs, err := numbers(l.Inputs)
	if err != nil {
		return err
	}
	total, want := 0, 1
	for _, n := range inputs {
		total += n
	}
	switch l.Task.FuncName {
	case split:
		if !l.Resumed {
			s.Action, s.Delay, s.Effects = omniq.ActionWait, 0, new(omniq.Effects)
			for i := range of.parts {
				s.Effects.Enqueue = append(s.Effects.Enqueue, of.task(part, i))
				s.Effects.After = append(s.Effects.After, omniq.Dependency{ID: of.id(part, i), Input: true})
			}
			return nil
		}
		want = of.parts
	case part:
		total, want = of.base+i, 0
	case leaf:
		total += i
	case sum:
		want = of.leaves
	case next:
		total++
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{of.task(audit, 0, l.TaskID)}}
	case audit:
		total *= 2
	}
	if len(inputs) != want {
		return fmt.Errorf("it has %d inputs, want %d", len(inputs), want)
	}
	s.Action, s.Delay, s.Error = omniq.ActionFinish, 0, nil
	s.Result = &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(strconv.Itoa(total)), TTL: new(time.Hour),
		Timestamp: time.Now().UTC().Truncate(time.Microsecond), Attempts: l.Attempt,
	}
	return nil
}

// numbers are what inputs have.
func numbers(inputs []*omniq.RawResult) ([]int, error) {
	all := make([]int, len(inputs))
	for i, r := range inputs {
		if r == nil || r.Status != omniq.StatusSuccess {
			return nil, fmt.Errorf("input %d is %+v, want a success", i, r)
		}
		var err error
		if all[i], err = strconv.Atoi(string(r.ResultData)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Flows kills processes that enqueue and work flows: a fan-out, what waits for all of it, a chain, tasks that are brought by
// settlements, and one that hands over. It fails the test unless each flow whose enqueue was acknowledged comes to its one right
// end, as does each that is there without, and no flow has a task too few or too many. The plan's signal is SIGKILL.
func Flows(t *testing.T, open Open, plan Plan) Report {
	t.Helper()
	plan.Signal = syscall.SIGKILL
	r := newRunner(t, plan, flowProducer, flowWorker)
	began := time.Now()
	r.stopAtRandom()
	r.stopAll(flowProducer)
	r.checkFlows(open)
	r.stopAll(flowWorker)
	r.report.Took = time.Since(began)
	t.Logf("%d processes stopped in %v, %d of them workers; %d flows tried, %d acknowledged, %d ended",
		r.report.Stopped, r.report.Took.Round(time.Second), r.report.Workers, r.report.Tried, r.report.Stored, r.report.Results)
	return r.report
}

// checkFlows waits until the flows have ended, and looks at what they have come to.
func (r *runner) checkFlows(open Open) {
	b, err := open(r.plan.Place)
	require.NoError(r.t, err)
	defer func() { assert.NoError(r.t, b.Close()) }()
	ctx, cancel := context.WithTimeout(r.t.Context(), r.plan.Finish)
	defer cancel()
	for flow, h := range r.known() {
		r.report.Tried++
		if h.stored {
			r.report.Stored++
		}
		stats, err := b.FlowStats(ctx, flow)
		if errors.Is(err, omniq.ErrNotFound) && !h.stored {
			continue
		}
		require.NoError(r.t, err, "flow %v, acknowledged: %v", flow, h.stored)
		s := shapeOf(flow)
		_, err = b.Await(ctx, s.id(next, 0)) // which brings the last one
		require.NoError(r.t, err, "flow %v: %+v", flow, stats)
		result, err := b.Await(ctx, s.id(audit, 0))
		require.NoError(r.t, err, "the last task of flow %v", flow)
		require.Equal(r.t, omniq.StatusSuccess, result.Status, "the last task of flow %v: %v", flow, result.Error)
		require.Equal(r.t, strconv.Itoa(s.end()), string(result.ResultData), "the last task of flow %v", flow)
		stats, err = b.FlowStats(ctx, flow)
		require.NoError(r.t, err)
		require.Equal(r.t, omniq.FlowStats{Succeeded: s.members()}, stats, "flow %v", flow)
		r.report.Results++
	}
	stats, err := b.Stats(ctx)
	require.NoError(r.t, err)
	for _, q := range stats {
		assert.Zero(r.t, q.Waiting+q.Ready+q.Scheduled+q.Running, "tasks that are left: %+v", q)
	}
}
