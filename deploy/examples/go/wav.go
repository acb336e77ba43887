package main

import (
	"encoding/binary"
	"fmt"
	"os"

	pb "affectd.example/recognize/affectdv1"
)

// wav holds the format and the samples of a WAV file.
type wav struct {
	format     *pb.AudioFormat
	frameBytes int
	samples    []byte
}

// encodings has the encoding for each format tag and number of bits in a WAV header.
var encodings = map[[2]uint16]pb.Encoding{
	{1, 16}: pb.Encoding_ENCODING_PCM_S16LE,
	{1, 24}: pb.Encoding_ENCODING_PCM_S24LE,
	{1, 32}: pb.Encoding_ENCODING_PCM_S32LE,
	{3, 32}: pb.Encoding_ENCODING_PCM_F32LE,
	{6, 8}:  pb.Encoding_ENCODING_ALAW,
	{7, 8}:  pb.Encoding_ENCODING_MULAW,
}

// readWAV reads a WAV file.
func readWAV(name string) (*wav, error) {
	file, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, fmt.Errorf("%s: not a WAV file", name)
	}
	var found *wav
	for rest := file[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:][:min(size, len(rest)-8)]
		if id == "fmt " && len(body) >= 16 {
			if found, err = parseFormat(body); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		if id == "data" && found != nil {
			found.samples = body
			return found, nil
		}
		rest = rest[min(8+size+size%2, len(rest)):]
	}
	return nil, fmt.Errorf("%s: no samples", name)
}

// parseFormat reads the body of a "fmt " chunk.
func parseFormat(body []byte) (*wav, error) {
	number := binary.LittleEndian.Uint16
	tag, channels, bits := number(body), number(body[2:]), number(body[14:])
	// WAVE_FORMAT_EXTENSIBLE holds the format tag in the first bytes of its sub-format.
	if tag == 0xfffe && len(body) >= 26 {
		tag = number(body[24:])
	}
	encoding, ok := encodings[[2]uint16{tag, bits}]
	if !ok {
		return nil, fmt.Errorf("WAV format %d of %d bits; send such a file with ENCODING_FILE", tag, bits)
	}
	format := &pb.AudioFormat{
		Encoding:     encoding,
		SampleRateHz: binary.LittleEndian.Uint32(body[4:]),
		Channels:     uint32(channels),
	}
	return &wav{format: format, frameBytes: int(bits) / 8 * int(channels)}, nil
}
