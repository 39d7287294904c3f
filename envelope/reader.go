package envelope

import "unicode/utf8"

// reader fills an envelope attribute by attribute, in any order.
type reader struct {
	e    *Envelope
	seen uint32 // a bit per attribute
}

// set takes one attribute and says what is wrong with it, in words that follow
// its value.
func (r *reader) set(a attribute, value string) (reason string) {
	if r.seen&(1<<a) != 0 {
		return "is the second one for " + a.String()
	}
	r.seen |= 1 << a
	ok := true
	switch a {
	case attrSpecVersion:
		if value != specVersion {
			return "is not " + specVersion
		}
	case attrSchemaVersion:
		if r.e.SchemaVersion, ok = parseVersion(value); !ok {
			return "is not a version from 1 to 999999"
		}
	case attrHops:
		r.e.Hops, ok = parseCount(value)
	case attrRedrive:
		r.e.Redrive, ok = parseCount(value)
	case attrTime:
		r.e.Time, ok = parseTime(value)
	case attrExpires:
		r.e.Expires, ok = parseTime(value)
	case attrContentType:
		r.e.ContentType = value
		return checkContentType(value)
	default:
		*r.e.text(a) = value
		return checkText(value)
	}
	switch {
	case ok:
		return ""
	case a == attrTime || a == attrExpires:
		return "is not a time as in RFC 3339"
	default:
		return "is not a number from 0 to 2147483647"
	}
}

// extend takes an attribute that has no field.
func (r *reader) extend(name, value string) (reason string) {
	if reason := checkReceivedName(name); reason != "" {
		return "stands under a name that " + reason
	}
	if _, twice := r.e.Extensions[name]; twice {
		return "is the second one for " + name
	}
	if reason := checkExtensionValue(name, value); reason != "" {
		return reason
	}
	if r.e.Extensions == nil {
		r.e.Extensions = make(map[string]string)
	}
	r.e.Extensions[name] = value
	return ""
}

// checkExtensionValue says what is wrong with a value. Reserved attributes may
// have line breaks: they hold error texts.
func checkExtensionValue(name, value string) string {
	switch {
	case !isReserved(name):
		return checkText(value)
	case !utf8.ValidString(value):
		return "is not UTF-8"
	default:
		return ""
	}
}

// missing is the first attribute that every message must have and this one has
// not. A message without a version, as foreign senders make them, has version 1.
func (r *reader) missing() attribute {
	switch {
	case r.seen&(1<<attrSpecVersion) == 0:
		return attrSpecVersion
	case r.e.ID == "":
		return attrID
	case r.e.Source == "":
		return attrSource
	case r.e.Type == "":
		return attrType
	}
	if r.e.SchemaVersion == 0 {
		r.e.SchemaVersion = 1
	}
	return noAttribute
}
