package servers

// Setting is what a configuration of coturn sets a key to, as coturn reads it; of
// several the last, as it does with the keys that have one value. It is empty if
// the key is not there.
func Setting(conf []byte, key string) (value string) {
	for _, p := range split(conf) {
		if p.key == key {
			value = p.value()
		}
	}
	return value
}
