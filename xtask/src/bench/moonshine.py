"""Transcribes a WAV file with the vendor's own transcriber and its defaults, and prints what that took as JSON.

Only the vendor's native call is timed: reading the file and turning its samples and its answer into Python objects is
left out, which is in the vendor's favour.
"""

import array
import json
import os
import resource
import sys
import time
import wave

from moonshine_voice import ModelArch, Transcriber, get_model_path

with wave.open(sys.argv[1]) as file:
    assert file.getnchannels() == 1 and file.getsampwidth() == 2, "16-bit mono PCM is wanted"
    rate = file.getframerate()
    wanted = min(file.getnframes(), int(float(sys.argv[2]) * rate))
    samples = array.array("f", (sample / 32768 for sample in array.array("h", file.readframes(wanted))))

transcriber = Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY)
native = transcriber._lib.moonshine_transcribe_without_streaming
took = {}


def timed(*arguments):
    wall, cpu = time.monotonic(), time.process_time()
    outcome = native(*arguments)
    took.update(wall_seconds=time.monotonic() - wall, cpu_seconds=time.process_time() - cpu)
    return outcome


transcriber._lib.moonshine_transcribe_without_streaming = timed
transcript = transcriber.transcribe_without_streaming(samples, rate)
took.update(
    audio_seconds=len(samples) / rate,
    lines=len(transcript.lines),
    words=sum(len(line.text.split()) for line in transcript.lines),
    peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
)
print(json.dumps(took), flush=True)
# Some versions of the library crash when they are taken down, after everything is done.
os._exit(0)
