package report

// french is what is said in English, in French. Spaces before colons are plain: a
// terminal shows others as they are escaped.
var french = map[string]string{
	"%s to %s (local time, %s)": "du %s au %s (heure locale, %s)",
	"About this report":         "À propos de ce rapport",
	"netwatch report":           "rapport de netwatch",
	"netwatch report: %s":       "rapport de netwatch : %s",
	"In short":                  "En bref",
	"Nothing is in the history of this time: netwatch has just come, or nothing has happened since.": "L’historique " +
		"de cette période est vide : netwatch vient d’arriver, ou rien ne s’est passé depuis.",
	"That is no bad sign in itself. What netwatch knows now, `netwatch status` says.": "En soi, ce n’est pas mauvais " +
		"signe. `netwatch status` dit ce que netwatch sait maintenant.",
	"The history begins on %s.": "L’historique commence le %s.",
	"What is not about the address is known only from %s on.": "Ce qui ne concerne pas l’adresse n’est connu que depuis " +
		"le %s.",
	"%s since %s":   "%s depuis le %s",
	"Changes":       "Changements",
	"Habit":         "Habitude",
	"Callers wrong": "Appelants trompés",
	"Outages":       "Coupures",
	"Failures":      "Échecs",
	"Proofs":        "Preuves",
	"none":          "aucune",
	"nothing":       "aucun",

	"no address is known":      "aucune adresse n’est connue",
	"none: the address stayed": "aucun : l’adresse est restée la même",
	"%s:":                      "%s :",
	"%s of the IPv4 address":   "%s de l’adresse IPv4",
	"%s of the IPv6 address":   "%s de l’adresse IPv6",

	"%s of the IPv4 and %s of the IPv6 address": "%s de l’adresse IPv4 et %s de l’adresse IPv6",
	"Too few changes to see a habit of your provider.": "Trop peu de changements pour voir une habitude de votre " +
		"fournisseur.",
	"Your provider has no habit that could be seen.": "Votre fournisseur n’a pas d’habitude visible.",
	"Your provider reconnects about every %s, %d of %d times.": "Votre fournisseur vous reconnecte environ toutes les " +
		"%s, %d fois sur %d.",
	"%s at about %s, in %d of %d weeks: then your provider reconnects.": "Le %s vers %s, %d semaines sur %d : c’est là " +
		"que votre fournisseur vous reconnecte.",
	"Your provider reconnects at about %s, on %d of %d days.": "Votre fournisseur vous reconnecte vers %s, %d jours sur " +
		"%d.",

	"never, as far as is known": "jamais, pour autant qu’on sache",
	"half of the times at most %s, 19 of 20 times at most %s": "une fois sur deux, %s au plus ; " +
		"19 fois sur 20, %s au plus",
	"%s, of %s":                  "%s, de %s",
	"%s, in all %s":              "%s, %s en tout",
	"%s kind, %s in all":         "%s sorte, %s en tout",
	"%s kinds, %s in all":        "%s sortes, %s en tout",
	"%s time":                    "%s fois",
	"%s times":                   "%s fois",
	"none was made":              "aucune n’a été faite",
	"%s well, %s failed":         "réussies : %s, échouées : %s",
	", %s with nothing to go by": ", sans rien pour en juger : %s",

	"Addresses":      "Adresses",
	"None is known.": "Aucune n’est connue.",
	"Address":        "Adresse",
	"From":           "Du",
	"Until":          "Au",
	"How long":       "Durée",
	"Noticed by":     "Remarquée par",
	"now":            "maintenant",
	"%s more, which is older: `netwatch history --addresses` has all.": "%s de plus, antérieure : `netwatch history " +
		"--addresses` les a toutes.",
	"%s more, which are older: `netwatch history --addresses` has all.": "%s de plus, antérieures : `netwatch history " +
		"--addresses` les a toutes.",
	"the router":                   "le routeur",
	"this machine’s network":       "le réseau de la machine",
	"a file":                       "un fichier",
	"another machine":              "une autre machine",
	"somebody’s command":           "une commande",
	", after an outage":            ", après une coupure",
	", after netwatch had stopped": ", après un arrêt de netwatch",

	"None: some server always said which address is ours.": "Aucune : il y a toujours eu un serveur pour dire quelle " +
		"est notre adresse.",
	"No server said which address is ours: the line was down, or no server could be reached.": "Aucun serveur n’a dit " +
		"quelle est notre adresse : la ligne était coupée, ou aucun serveur n’était joignable.",
	"Family":                                        "Famille",
	"%s more, which is older.":                      "%s de plus, antérieure.",
	"%s more, which are older.":                     "%s de plus, antérieures.",
	"How long callers were told a wrong address":    "Combien de temps les appelants ont reçu une adresse fausse",
	"No service had to be made right in this time.": "Aucun service n’a dû être corrigé pendant cette période.",
	"%s time a service was made right.":             "%s fois, un service a été corrigé.",
	"%s times a service was made right.":            "%s fois, un service a été corrigé.",
	"How long it was wrong is known between two bounds: at least from when the new address was believed until it began " +
		"to be made right, at most from when a server last said the old one until that was done.": "La durée de l’erreur " +
		"est connue entre deux bornes : au moins depuis que la nouvelle adresse a été crue jusqu’au début de la " +
		"correction, au plus depuis qu’un serveur a donné l’ancienne pour la dernière fois jusqu’à la fin de la correction.",
	"at least":                 "au moins",
	"at most":                  "au plus",
	"half of the times, up to": "une fois sur deux, jusqu’à",
	"19 of 20 times, up to":    "19 fois sur 20, jusqu’à",
	"the longest":              "la plus longue",
	"all together":             "toutes ensemble",
	"How often callers were wrong for how long": "Combien de fois les appelants ont été trompés, et combien de temps",
	"how long": "durée",
	"times":    "fois",

	"When the address changes": "Quand l’adresse change",
	"%s change was seen late, after an outage or a stop, and is not in the pictures.": "%s changement a été vu tard, " +
		"après une coupure ou un arrêt, et n’est pas dans les images.",
	"%s changes were seen late, after an outage or a stop, and are not in the pictures.": "%s changements ont été vus " +
		"tard, après une coupure ou un arrêt, et ne sont pas dans les images.",
	"Changes by the hour of the day": "Changements par heure de la journée",
	"hour":                           "heure",
	"changes":                        "changements",
	"Changes by the day of the week": "Changements par jour de la semaine",

	"Failures and what helps":            "Échecs et remèdes",
	"What helps:":                        "Remède :",
	"Nothing failed.":                    "Rien n’a échoué.",
	"%s kind more, which was earlier.":   "%s sorte de plus, antérieure.",
	"%s kinds more, which were earlier.": "%s sortes de plus, antérieures.",
	"netwatch itself":                    "netwatch lui-même",
	"Once, on %s.":                       "Une fois, le %s.",
	"%s times, from %s to %s.":           "%s fois, du %s au %s.",
	"The rule has succeeded since.":      "La règle a réussi depuis.",
	"The rule has not succeeded since.":  "La règle n’a pas réussi depuis.",

	"No rule has proven anything: a step `verify` asks as a caller does.": "Aucune règle n’a rien prouvé : une étape " +
		"`verify` demande comme le fait un appelant.",
	"%s more is left out: `netwatch report --json` has all.": "%s de plus, laissée de côté : `netwatch report --json` " +
		"les a toutes.",
	"%s more are left out: `netwatch report --json` has all.": "%s de plus, laissées de côté : `netwatch report --json` " +
		"les a toutes.",
	"The last on %s.":                "La dernière le %s.",
	"The last that failed on %s.":    "Le dernier échec le %s.",
	"The other machines":             "Les autres machines",
	"%s change of its address":       "%s changement de son adresse",
	"%s changes of its address":      "%s changements de son adresse",
	"; %s other thing that it told":  " ; %s autre chose annoncée",
	"; %s other things that it told": " ; %s autres choses annoncées",
	"; gone %s time, for %s in all":  " ; absente %s fois, %s en tout",
	"; gone %s times, for %s in all": " ; absente %s fois, %s en tout",
	"It is gone.":                    "Elle est absente.",
	"Last heard of on %s.":           "Dernières nouvelles le %s.",

	"%s addresses and outages":            "Adresses %s et coupures",
	"an address":                          "une adresse",
	"the next":                            "la suivante",
	"several, too short to be told apart": "plusieurs, trop brèves pour être distinguées",
	"an outage":                           "une coupure",
	"nothing is known":                    "rien n’est connu",
	"%s from %s, %s":                      "%s à partir du %s, %s",
	"%s address":                          "%s adresse",
	"%s addresses":                        "%s adresses",
	"outage from %s, %s":                  "coupure à partir du %s, %s",
	"%s outage":                           "%s coupure",
	"%s outages":                          "%s coupures",
	"All in a table":                      "Tout dans un tableau",

	"%d s":   "%d s",
	"%d min": "%d min",
	"s":      "s",
	"min":    "min",
	"h":      "h",
	"d":      "j",

	"Monday": "lundi", "Tuesday": "mardi", "Wednesday": "mercredi", "Thursday": "jeudi", "Friday": "vendredi",
	"Saturday": "samedi", "Sunday": "dimanche",
	"Mon": "lun.", "Tue": "mar.", "Wed": "mer.", "Thu": "jeu.", "Fri": "ven.", "Sat": "sam.", "Sun": "dim.",
	"Jan": "janv.", "Feb": "févr.", "Mar": "mars", "Apr": "avr.", "May": "mai", "Jun": "juin", "Jul": "juil.",
	"Aug": "août", "Sep": "sept.", "Oct": "oct.", "Nov": "nov.", "Dec": "déc.",
}
