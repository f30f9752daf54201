#!/bin/sh
# Stands in for yt-dlp in the tests: behaves as its last argument, a URL, says, and repeats its arguments in what it
# prints, so that the tests can look at them.
arguments=""
for argument in "$@"; do
    arguments="$arguments$argument|"
    url="$argument"
done
quoted=$(printf '%s' "$arguments" | sed 's/\\/\\\\/g; s/"/\\"/g')
case "$url" in
    --version)
        echo 2026.01.29
        ;;
    */one)
        printf '{"_type": "video", "id": "abc", "extractor_key": "Site", "title": " A\\n title ", "uploader": null,'
        printf '"channel": "Ada", "upload_date": "20260107", "duration": 61.5, "language": "en",'
        printf '"webpage_url": "https://1.1.1.1/one", "description": "%s",' "$quoted"
        printf '"chapters": [{"start_time": 30, "title": "Two"}, {"start_time": 0.0, "title": "One", "end_time": 30},'
        printf '{"start_time": null, "title": "x"}]}\n'
        # What it downloads, if it was told to.
        case "$arguments" in *--no-simulate*) printf 'sound' > media.webm; printf x > media.webm.part ;; esac
        ;;
    */list)
        printf '{"_type": "playlist", "title": "List", "entries": ['
        printf '{"_type": "url", "url": "https://1.1.1.1/one", "title": "%s"}, null,' "$quoted"
        printf '{"url": "http://127.0.0.1/inside"}, {"url": "abc"}, {"id": "no url"},'
        printf '{"webpage_url": "https://1.1.1.1/two", "url": "ignored"}]}\n'
        ;;
    */cookies)
        file=$(printf '%s' "$arguments" | sed 's/.*|--cookies|\([^|]*\)|.*/\1/')
        printf '{"id": "%s", "title": "%s", "description": "%s"}\n' "$(cat "$file")" "$(stat -c %a "$file")" "$file"
        echo changed > "$file"
        ;;
    */environment)
        printf '{"title": "%s", "description": "%s"}\n' "$GIVEN" "$HOME"
        ;;
    */bot)
        echo "WARNING: something" >&2
        echo "ERROR: [site] abc: Sign in to confirm you are not a bot. Use --cookies" >&2
        exit 1
        ;;
    */live)
        echo '{"title": "live"}'
        ;;
    */garbage)
        echo '<html>'
        ;;
    */chatty)
        # Fills the pipe of complaints before it prints anything.
        i=0
        while [ $i -lt 3000 ]; do echo "WARNING: this is a long line that nobody wants to read, number $i" >&2; i=$((i + 1)); done
        echo '{"title": "quiet at last"}'
        ;;
    */endless)
        while :; do echo '{"title": "0123456789012345678901234567890123456789012345678901234567890123456789"}'; done
        ;;
    */grows)
        # Its child works on when only the parent is stopped.
        sh -c 'while :; do head -c 100000 /dev/zero >> media.webm.part; sleep 0.05; done' &
        wait
        ;;
    */hangs)
        sh -c 'echo $$ > child; exec sleep 3600' &
        wait
        ;;
esac
