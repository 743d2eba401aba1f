package netwatch

import "bytes"

// WithoutLines is a text without lines that were put into it, if they are still in
// there exactly once, as whole lines. Lines that were put behind a text without a line
// end begin with the one that it lacked. Every other byte stays.
func WithoutLines(text, lines []byte) (rest []byte, were bool) {
	i := bytes.Index(text, lines)
	if len(lines) == 0 || i < 0 || bytes.Contains(text[i+1:], lines) {
		return text, false
	}
	before, after := text[:i], text[i+len(lines):]
	begins := len(before) == 0 || bytes.HasSuffix(before, []byte{'\n'}) || lines[0] == '\n' || lines[0] == '\r'
	ends := len(after) == 0 || bytes.HasSuffix(lines, []byte{'\n'}) || after[0] == '\n' || after[0] == '\r'
	if !begins || !ends {
		return text, false
	}
	if lines[0] == '\n' && len(before) > 0 && !bytes.HasSuffix(before, []byte{'\n'}) && len(after) > 0 &&
		bytes.HasSuffix(lines, []byte{'\n'}) {
		before = text[:i+1] // Else what somebody wrote behind them would go on with another line.
	}
	return append(bytes.Clone(before), after...), true
}
