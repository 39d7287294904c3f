package embedded

import "log/slog"

// SetLogger sets Logger where it is nil.
func (o *Options) SetLogger(log *slog.Logger) {
	if o.Logger == nil {
		o.Logger = log
	}
}
