package application

import (
	"context"
	"fmt"

	"github.com/annals-es/annals"
)

// StoryEvent is an event of a story, and the application that has it.
type StoryEvent struct {
	// Application is the name of the application.
	Application string
	Notification
}

// Story returns the events with a correlation id, of all the given applications:
// those of each application in the order of its log, each after the one that
// caused it, and otherwise by their times. All of them are in memory at once. For
// one application there is also [Correlation]. It returns an
// [*annals.InvalidIDError] for an id that no event can have: an empty one, say.
func Story(ctx context.Context, correlationID string, apps ...*Application) ([]StoryEvent, error) {
	if err := annals.CheckID("correlation id", correlationID); err != nil {
		return nil, fmt.Errorf("application: story: %w", err)
	}
	logs := make([][]StoryEvent, len(apps)) // what is not told yet
	untold := make(map[string]bool)         // the ids of the events in logs
	for i, app := range apps {
		for n, err := range app.Notifications(ctx, Correlation(correlationID)) {
			if err != nil {
				return nil, err
			}
			logs[i] = append(logs[i], StoryEvent{app.name, n})
			untold[n.Event.ID] = true
		}
	}
	var story []StoryEvent
	for {
		i := nextOf(logs, untold)
		if i < 0 {
			return story, nil
		}
		story = append(story, logs[i][0])
		delete(untold, logs[i][0].Event.ID)
		logs[i] = logs[i][1:]
	}
}

// nextOf returns which log goes on: of those whose first event has no cause that
// is not told yet, the one with the earliest. If all have one, in a circle, the
// earliest of all. It returns -1 if nothing is left.
func nextOf(logs [][]StoryEvent, untold map[string]bool) int {
	best, bestWaits := -1, false
	for i, log := range logs {
		if len(log) == 0 {
			continue
		}
		waits := untold[log[0].Event.Metadata.CausationID]
		if best < 0 || bestWaits && !waits || bestWaits == waits && log[0].Event.Time.Before(logs[best][0].Event.Time) {
			best, bestWaits = i, waits
		}
	}
	return best
}
