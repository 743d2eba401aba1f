# Makes what the panel shows of `netwatch status --json`, in both languages.

include "plain";

def time: .[0:16] | sub("T"; " ");

def outcome_fr: {changed: "changé", unchanged: "en ordre", skipped: "rien à faire", failed: "échec", held: "retenu"}[.] // .;

def address($fr): .key as $family | .value
	| "**\($family | sub("ipv"; "IPv"))**: \(.address)"
	+ (if $fr then ", depuis \(.since | time)" else ", since \(.since | time)" end)
	+ (if .unconfirmed then
		(if $fr then ", que plus personne ne confirme depuis \(.unconfirmed | time)"
		else ", confirmed by nobody since \(.unconfirmed | time)" end)
	else "" end);

def rule($fr): "**\(.name)**: "
	+ if .failed then
		(if $fr then "échec, \(.failed.time | time) : " else "failed, \(.failed.time | time): " end)
		+ "\(.failed.step): \(.failed.error)" + (if .failed.hint then " (\(.failed.hint))" else "" end)
	elif .last then
		"\(if $fr then (.last.outcome | outcome_fr) else .last.outcome end), \(.last.time | time)"
	else
		(if $fr then "pas encore exécutée" else "not run yet" end)
	end;

# Marks of a text that Markdown would take for a link, or for what stands for a character.
def unmarked: gsub("(?<mark>[&\\[])"; "&#\(.mark | explode[0]);") | plain;

# What a source cannot do or find out now.
def troubles: [.sources[] | .name as $name | (.error // empty), (.trouble[]? | tostring) | "**\($name)**: \(.)"];

# What only asks is not worth a line.
def proving: [.rules[] | select(any(.do[]; startswith("probe") | not))];

def text($fr): [
	(if .addresses == {} then (if $fr then "Aucune adresse publique n'est connue." else "No public address is known." end)
	else (.addresses | to_entries[] | address($fr)) end),
	(if .refused then
		(if $fr then "La configuration est refusée, et la précédente reste en vigueur : "
		else "The configuration is refused, and the one before it is in force: " end) + .refused
	else empty end),
	troubles[],
	(proving[] | rule($fr))
] | map(unmarked) | join("\n\n");

{
	style: (if .refused or any(.rules[]; .failed) then "danger"
		elif .addresses == {} or any(.addresses[]; .unconfirmed) or troubles != [] then "warning"
		else "success" end),
	ask: {en: text(false), fr: text(true)}
}
