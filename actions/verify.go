package actions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/rewrite"
	"netwatch/servers"
	"netwatch/turn"
)

// verifyUsage is what follows the verb.
const verifyUsage = "turn FILE"

// verifyTime is how long one family may take: coturn that was just started
// listens after 130 ms (measured), and a lost packet is sent again meanwhile.
const verifyTime = 3 * time.Second

// A verification asks coturn for relayed transport addresses, as a caller does,
// and compares them with the public addresses. It is the step `verify turn FILE`.
type verification struct {
	file netwatch.Path
	// local is netwatch.OwnAddress, or what stands for it in a test.
	local func(family netwatch.Family, public netip.Addr) netip.Addr
	// time is verifyTime, or less in a test.
	time time.Duration
}

// newVerify makes the step. It is done also when nothing changed: what coturn
// gives to its callers depends on when it was started.
func newVerify(_ Env, verb string, words []string) (netwatch.Step, error) {
	var err error
	switch {
	case len(words) == 0:
		err = errors.New("what to verify is missing, it can be turn")
	case words[0] != "turn":
		err = fmt.Errorf("%q cannot be verified, only turn", words[0])
	case len(words) == 1:
		err = errors.New("the file of coturn is missing")
	case len(words) > 2:
		err = fmt.Errorf("%q is not understood after the file", words[2])
	}
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("%w: %s %s", err, verb, verifyUsage)
	}
	file, err := netwatch.ParsePath(words[1])
	return netwatch.Step{Action: &verification{file, netwatch.OwnAddress, verifyTime}}, err
}

// Do is unchanged when every caller gets the public address, whatever family he
// asks for, and failed otherwise. The detail is these addresses.
func (v *verification) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	if len(job.Confirmed) == 0 {
		err := errors.New("the public address is not known yet: no server has told it since netwatch started")
		return netwatch.Failure(netwatch.WithHint(err, "run `netwatch probe` to see what each STUN server says"))
	}
	offer, err := readTurn(v.file)
	if err != nil {
		return netwatch.Failure(err)
	}
	var right, without []string
	for _, family := range netwatch.Families {
		confirmed, ok := job.Confirmed[family]
		if !ok {
			continue
		}
		switch err := v.family(ctx, offer, family, confirmed.Address); {
		case turn.Refused(err, stun.CodeAddrFamilyNotSupported):
			without = append(without, fmt.Sprintf("no %s relay", family))
		case err != nil:
			return netwatch.Failure(fmt.Errorf("verifying %s of coturn: %w", family, err))
		default:
			right = append(right, fmt.Sprintf("%s %s", family, confirmed.Address))
		}
	}
	if len(right) == 0 {
		err := fmt.Errorf("verifying coturn: it has %s", strings.Join(without, " and "))
		return netwatch.Failure(netwatch.WithHint(err, fmt.Sprintf("see relay-ip and listening-ip in %s", v.file)))
	}
	return netwatch.Result{Outcome: netwatch.Unchanged, Detail: strings.Join(append(right, without...), ", ")}
}

// VerifyTurn asks coturn for relayed addresses, as the step `verify turn FILE` does.
func VerifyTurn(ctx context.Context, file netwatch.Path, known netwatch.Addresses) netwatch.Result {
	v := verification{file, netwatch.OwnAddress, verifyTime}
	return v.Do(ctx, netwatch.Job{Confirmed: known})
}

// family verifies that nobody gets a relayed address without credentials, and
// that each of the file's credentials gets the public one.
func (v *verification) family(ctx context.Context, offer *servers.Offer, family netwatch.Family, public netip.Addr) error {
	to, err := offer.At(family, v.own(offer, family, public))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, v.time)
	defer cancel()
	for _, who := range offer.Credentials {
		got, err := turn.Allocate(ctx, to, who, family)
		switch {
		case errors.Is(err, turn.ErrOpen):
			return netwatch.WithHint(fmt.Errorf("asking %s: %w", to, err),
				fmt.Sprintf("it may run without its configuration: see that its user can read %s and that no-auth is not in it, and restart it", v.file))
		case err != nil:
			return v.explain(to, err)
		case got != public:
			return v.wrong(offer, to, got, public)
		}
	}
	return nil
}

// own is the address of this machine that callers reach coturn at: what the file
// pairs with the public one, or else what packets to the internet come from.
func (v *verification) own(offer *servers.Offer, family netwatch.Family, public netip.Addr) netip.Addr {
	for _, a := range offer.Private {
		if netwatch.FamilyOf(a) == family && netwatch.IsOwn(a) {
			return a
		}
	}
	return v.local(family, public)
}

// explain says what a refusal or silence means, and what to do.
func (v *verification) explain(to netip.AddrPort, err error) error {
	refused := new(turn.Error)
	if errors.Is(err, turn.ErrNobody) {
		return netwatch.WithHint(fmt.Errorf("asking %s: %w: it has neither static-auth-secret nor user", to, err),
			"whom coturn's database knows cannot be seen from here: add a user=NAME:PASSWORD to the file, or leave this step out")
	}
	if !errors.As(err, &refused) {
		return netwatch.WithHint(fmt.Errorf("nobody answers at %s over UDP: %w", to, err),
			"see whether its unit runs (systemctl status), and whether it listens there: listening-ip, listening-port and no-udp in "+string(v.file))
	}
	err = fmt.Errorf("asking %s: %w", to, err)
	switch refused.Code {
	case stun.CodeUnauthorized, stun.CodeWrongCredentials:
		return netwatch.WithHint(fmt.Errorf("%w to the credentials of %s", err, v.file), "it runs with others than are in the file now: restart it")
	case stun.CodeAllocQuotaReached:
		return netwatch.WithHint(err, "its user-quota or total-quota is used up")
	case stun.CodeInsufficientCapacity:
		return netwatch.WithHint(err, "no port is free between min-port and max-port, or its bandwidth is used up")
	}
	return err
}

// wrong says why coturn gives its callers another address than the public one.
func (v *verification) wrong(offer *servers.Offer, to netip.AddrPort, got, public netip.Addr) error {
	err := fmt.Errorf("%s relays over %s, and the public address is %s", to, got, public)
	switch {
	case slices.Contains(offer.Advertised, public):
		return netwatch.WithHint(err, fmt.Sprintf("%s has the right external-ip, which coturn reads only when it starts: restart it; if it was, the private part is no address of this machine (private=auto)", v.file))
	case got.IsUnspecified():
		return netwatch.WithHint(err, fmt.Sprintf("external-ip in %s is empty: have a step `rotate coturn %[1]s` before this one", v.file))
	}
	return netwatch.WithHint(err, fmt.Sprintf("external-ip in %s does not have it: have a step `rotate coturn %[1]s` and a restart before this one", v.file))
}

// readTurn reads a configuration of coturn.
func readTurn(file netwatch.Path) (*servers.Offer, error) {
	f, err := rewrite.Open(string(file))
	if errors.Is(err, fs.ErrPermission) {
		err = netwatch.WithHint(err, netwatch.GrantHint)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	coturn, _ := servers.Named("coturn") // it is in the table
	offer, err := coturn.Offer(f.Text, time.Now())
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return offer, nil
}
