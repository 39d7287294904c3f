package kafkadriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// wrap adds the sentinel of package driver that fits.
func wrap(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, s := range sentinels() {
		for _, is := range s.of {
			if errors.Is(err, is) {
				return fmt.Errorf("%w: %w", s.sentinel, err)
			}
		}
	}
	return err
}

type sentinel struct {
	sentinel error
	of       []error
}

func sentinels() []sentinel {
	return []sentinel{
		{driver.ErrClosed, []error{kgo.ErrClientClosed}},
		{driver.ErrNotFound, []error{kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.GroupIDNotFound}},
		{driver.ErrTooLarge, []error{kerr.MessageTooLarge, kerr.RecordListTooLarge}},
		{driver.ErrDenied, []error{
			kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
			kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState,
			kerr.TransactionalIDAuthorizationFailed, kerr.DelegationTokenAuthorizationFailed, kerr.SecurityDisabled,
		}},
		{driver.ErrStale, []error{
			kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch, kerr.FencedInstanceID,
		}},
	}
}
