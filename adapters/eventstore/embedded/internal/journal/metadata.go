package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Metadata is the part of a stream's metadata document that the store acts upon. Zero
// values mean "no limit".
type Metadata struct {
	MaxAge         int64 // seconds
	MaxCount       int64 // events
	TruncateBefore int64 // revision; TombstoneRevision: soft-deleted
	ACL            *ACL  // nil: the default
}

// ACL names the users and groups that may do each thing; a nil list falls back to the
// default.
type ACL struct {
	Read, Write, Delete, MetaRead, MetaWrite []string
}

// ParseMetadata reads a stream metadata document. A known key that is malformed voids
// the whole document, as in EventStoreDB: integers only, $acl an object.
func ParseMetadata(doc []byte) Metadata {
	var keys map[string]json.RawMessage
	if json.Unmarshal(doc, &keys) != nil {
		return Metadata{}
	}
	var m Metadata
	var ignored int64
	for key, into := range map[string]*int64{
		"$maxAge": &m.MaxAge, "$maxCount": &m.MaxCount, "$tb": &m.TruncateBefore, "$cacheControl": &ignored,
	} {
		raw, ok := keys[key]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
		if err != nil {
			return Metadata{}
		}
		*into = max(0, n)
	}
	if raw, ok := keys["$acl"]; ok {
		acl, err := parseACL(raw)
		if err != nil {
			return Metadata{}
		}
		m.ACL = acl
	}
	return m
}

func parseACL(raw json.RawMessage) (*ACL, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil || keys == nil {
		return nil, fmt.Errorf("$acl is not an object: %w", err)
	}
	acl := &ACL{}
	for key, into := range map[string]*[]string{
		"$r": &acl.Read, "$w": &acl.Write, "$d": &acl.Delete, "$mr": &acl.MetaRead, "$mw": &acl.MetaWrite,
	} {
		raw, ok := keys[key]
		if !ok {
			continue
		}
		var one string
		if json.Unmarshal(raw, &one) == nil {
			*into = []string{one}
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, fmt.Errorf("$acl key %s: %w", key, err)
		}
	}
	return acl, nil
}

// deletedDocument is the metadata of a soft-deleted stream: everything else is lost.
func deletedDocument() []byte {
	return []byte(`{"$tb":` + strconv.FormatInt(TombstoneRevision, 10) + `}`)
}

// withTruncateBefore is doc with $tb replaced and everything else kept.
func withTruncateBefore(doc []byte, revision int64) []byte {
	var keys map[string]json.RawMessage
	if json.Unmarshal(doc, &keys) != nil || keys == nil {
		keys = map[string]json.RawMessage{}
	}
	keys["$tb"] = json.RawMessage(strconv.FormatInt(revision, 10))
	out, err := json.Marshal(keys)
	if err != nil { // every value is raw JSON that was just parsed
		return []byte(`{"$tb":` + strconv.FormatInt(revision, 10) + `}`)
	}
	return out
}
