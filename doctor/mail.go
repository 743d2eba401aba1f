package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"netwatch"
	"netwatch/actions"
)

// checkMail looks whether the mail server answers that steps give their mail to, and whether
// somebody reads it: what it is to tell of is mostly that something failed.
func checkMail(ctx context.Context, s *scene) (found []Finding) {
	needs := s.cfg.Needs()
	for _, server := range slices.Compact(needs.Mail) { // There is one for all
		if err := actions.AskMail(ctx, server); err != nil {
			found = append(found, Finding{Problem, "mail", err.Error(), netwatch.Hint(err)})
			continue
		}
		found = append(found, Finding{OK, "mail", server + " answers", ""})
	}
	return append(found, s.judgeMailboxes(needs.Mailboxes)...)
}

// rootsAlias is a line of /etc/aliases by which somebody reads what is for root.
var rootsAlias = netwatch.Pattern(`(?mi)^root\s*:`)

// judgeMailboxes finds mail that nobody reads. On a YunoHost postfix has procmail keep what is
// for root@localhost, which it does as nobody.
func (s *scene) judgeMailboxes(to []string) []Finding {
	const unread = "root@localhost"
	if !slices.Contains(to, unread) {
		return nil
	}
	domain, err := s.Tree.Read("/etc/yunohost/current_host")
	if aliases, _ := s.Tree.Read("/etc/aliases"); err != nil || rootsAlias().Match(aliases) {
		return nil
	}
	return []Finding{{
		Warning, "mail", "to " + unread + ": nobody reads it, on a YunoHost it ends in /var/mail/nobody",
		fmt.Sprintf("have the steps in %s mail root@%s, who are the administrators; then: systemctl reload netwatch.service",
			netwatch.ShellPath(s.Config), netwatch.Printable(strings.TrimSpace(string(domain)))),
	}}
}
