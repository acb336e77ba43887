// Recognize streams a recording to affectd and prints its events.
//
// usage: go run . [-real-time] FILE [HOST:PORT]
//
// FILE is a WAV file: PCM of 16, 24 or 32 bits, 32-bit floats, mu-law or A-law.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "affectd.example/recognize/affectdv1"
)

// chunkTime is the length of one chunk.
const chunkTime = 100 * time.Millisecond

func main() {
	realTime := flag.Bool("real-time", false, "send at the speed of the recording")
	flag.Parse()
	server := "127.0.0.1:50051"
	if flag.NArg() > 1 {
		server = flag.Arg(1)
	}
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: go run . [-real-time] FILE [HOST:PORT]")
		os.Exit(2)
	}
	// A live client reconnects after UNAVAILABLE: it opens a new call with the same StreamId and sets FirstSample of
	// the first chunk to that chunk's position. On ALREADY_EXISTS it tries again for up to 30 s.
	if err := recognize(flag.Arg(0), server, *realTime); err != nil {
		if refusal, ok := status.FromError(err); ok {
			err = fmt.Errorf("%s: %s", code.Code(refusal.Code()), refusal.Message())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// recognize sends the file to the server and prints the events until the server ends the call.
func recognize(name, server string, realTime bool) error {
	recording, err := readWAV(name)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	// Cancelling the context ends the call and frees the stream in the server.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call, err := pb.NewRecognitionServiceClient(connection).Recognize(ctx)
	if err != nil {
		return err
	}
	// Events arrive while chunks are sent. If Send fails, Recv returns the status.
	go send(call, recording, realTime)
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		event := response.GetEvent()
		fmt.Printf("%.1f - %.1f s  %s  %.2f\n", event.GetStart().AsDuration().Seconds(),
			event.GetEnd().AsDuration().Seconds(), event.GetEmotion(), event.GetConfidence())
	}
}

// send sends chunks of 100 ms. A live source sends them as they are recorded, and Last ends the stream.
func send(call pb.RecognitionService_RecognizeClient, recording *wav, realTime bool) {
	step := max(1, int(recording.format.GetSampleRateHz())/10*recording.frameBytes)
	for start := 0; start < len(recording.samples); start += step {
		end := min(start+step, len(recording.samples))
		chunk := &pb.AudioChunk{
			Format: recording.format,
			Audio:  recording.samples[start:end],
			Last:   end == len(recording.samples),
		}
		// Send waits while the server takes no more audio.
		if call.Send(&pb.RecognizeRequest{Chunk: chunk}) != nil {
			return
		}
		if realTime {
			time.Sleep(chunkTime)
		}
	}
}
