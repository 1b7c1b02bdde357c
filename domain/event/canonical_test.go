package event

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// shape is a payload type that is read without the codec.
type shape struct {
	name  string
	draw  func(t *rapid.T) any // a pointer to a payload as commands make it
	empty func() any
}

func shapeOf[T any](name string) shape {
	generate := rapid.Make[T]()
	return shape{name, func(t *rapid.T) any { v := generate.Draw(t, name); fill(reflect.ValueOf(&v).Elem()); return &v }, func() any { return new(T) }}
}

var shapes = []shape{
	shapeOf[SymbolIssued](TypeSymbolIssued),
	shapeOf[InquiryNotified](TypeInquiryNotified),
	shapeOf[InquiryRefused](TypeInquiryRefused),
	shapeOf[ProvisionReported](TypeProvisionReported),
	shapeOf[InquiryLapsed](TypeInquiryLapsed),
}

// fill leaves no list nil, which would be null, and no number negative: neither is in an event.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(max(v.Int(), -(v.Int() + 1)))
	}
}

// equal holds what was recognised against what the codec reads.
func equal(t interface{ Fatalf(string, ...any) }, s shape, data []byte, got any) {
	want := s.empty()
	if err := decoding.Unmarshal(data, want); err != nil {
		t.Fatalf("%s: the codec refuses what was recognised: %v", s.name, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: not what the codec reads", s.name)
	}
}

func TestTheOneEncodingIsRecognised(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				data, err := Encode(s.draw(t))
				if err != nil {
					t.Fatal(err)
				}
				got := s.empty()
				if !recognise(data, got) {
					t.Fatal("not recognised")
				}
				equal(t, s, data, got)
			})
		})
	}
}

// TestWhatIsRecognisedTheCodecReadsAlike damages encodings.
func TestWhatIsRecognisedTheCodecReadsAlike(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				data, err := Encode(s.draw(t))
				if err != nil {
					t.Fatal(err)
				}
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "octet")
				}
				data = data[:rapid.IntRange(max(0, len(data)-3), len(data)).Draw(t, "length")]
				if got := s.empty(); recognise(data, got) {
					equal(t, s, data, got)
				}
			})
		})
	}
}

func FuzzRecognise(f *testing.F) {
	for i := range shapes {
		data, err := Encode(sample())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, data)
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		s := shapes[uint(i)%uint(len(shapes))]
		kept := bytes.Clone(data)
		got := s.empty()
		if !recognise(data, got) {
			return
		}
		equal(t, s, data, got)
		clear(data)
		equal(t, s, kept, got) // it shares no memory with the plaintext, which is wiped
	})
}

func sample() InquiryNotified {
	return InquiryNotified{
		Command: Command{ID: uuid.UUID{1}, Actor: Actor{Identity: "gateway-13101", Role: "gateway", Agency: "13101"}, Digest: make([]byte, 16)},
		Record: Record{
			Symbol: make([]byte, 16), Subject: make([]byte, 16), ProcessingNumber: make([]byte, 16), Affair: "児童手当法による児童手当の支給に関する事務",
			Procedure: "認定請求の審査", Inquirer: "13101", InquirerName: "千代田区", Department: "子育て推進課", Provider: "27100", ProviderName: "大阪市",
			RequestedAt: 1_700_000_000_000_000, Information: "地方税関係情報", Items: []string{"合計所得金額", "扶養親族の数"}, RuleSet: make([]byte, 32),
			Rule: "2024-9-2-112", ValidUntil: 1_700_000_100_000_000,
		},
	}
}

// BenchmarkDecode is what reading a payload costs, beside the codec.
func BenchmarkDecode(b *testing.B) {
	data, err := Encode(sample())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("recognised", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !recognise(data, new(InquiryNotified)) {
				b.Fatal("not recognised")
			}
		}
	})
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := decoding.Unmarshal(data, new(InquiryNotified)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
