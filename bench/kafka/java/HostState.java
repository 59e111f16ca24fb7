import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A host's state as the store has it: klpstate.v1.HostState without the host id, in its canonical form, so that its
 * digest is the registry's. The fold is docs/rules.md's for the changes that the benchmark sends; another one throws.
 */
final class HostState {
    private static final int ENABLING = 1;
    private static final int ENABLED = 2;
    private static final int DISABLING = 3;
    private static final int COMPLETE = 1;
    private static final int GAP = 2;
    private static final byte[] NONE = new byte[0];

    private record Entry(byte[] name, byte[] buildId, int phase) {}

    private long stream;
    private long sequence;
    private byte[] release = NONE;
    private byte[] arch = NONE;
    private int livepatching;
    private int knowledge;
    private final List<Entry> stack = new ArrayList<>(4);
    /** Phase 0. */
    private final List<Entry> lingering = new ArrayList<>(2);

    /** `stored`: null for a host that is new. Returns what to store; null: the event is a repeat. */
    static byte[] after(byte[] stored, Event event) {
        HostState state = new HostState();
        if (stored == null) {
            if (!event.observed) throw new IllegalStateException("a stream that begins without an Observed");
            state.stream = event.stream;
        } else {
            state.read(stored);
            if (state.stream != event.stream) throw new IllegalStateException("a second stream of a host");
            if (Long.compareUnsigned(event.sequence, state.sequence) <= 0) return null;
            if (event.sequence != state.sequence + 1) state.knowledge = GAP;
        }
        state.sequence = event.sequence;
        if (event.observed) state.observe(event.change);
        else state.change(event);
        return state.written();
    }

    private void observe(Proto change) {
        stack.clear();
        lingering.clear();
        release = arch = NONE;
        livepatching = 0;
        knowledge = COMPLETE;
        while (change.next()) {
            switch (change.field) {
                case 1 -> release = change.bytes();
                case 2 -> arch = change.bytes();
                case 5 -> livepatching = (int) change.varint();
                case 6 -> stack.add(entry(change.message()));
                case 7 -> lingering.add(entry(change.message()));
                default -> change.skip();
            }
        }
        lingering.sort((a, b) -> Arrays.compareUnsigned(a.name, b.name));
    }

    private void change(Event event) {
        Proto change = event.change;
        Entry patch = null;
        while (change.next()) {
            if (change.field == 1) patch = patch(change.message(), 0);
            else change.skip();
        }
        int at = find(stack, patch.name);
        switch (event.changeField) {
            case Event.LOADING -> enter(at, patch, ENABLING);
            case Event.LOADED -> {
                if (at < 0) enter(at, patch, ENABLED);
                else stack.set(at, phased(at, patch, ENABLED));
            }
            case Event.DISABLING -> stack.set(at, phased(at, patch, DISABLING));
            case Event.DISABLED -> linger(stack.remove(at));
            case Event.REMOVED -> lingering.remove(find(lingering, patch.name));
            default -> throw new IllegalStateException("change " + event.changeField);
        }
    }

    private void enter(int at, Entry patch, int phase) {
        if (at >= 0) throw new IllegalStateException("loaded twice");
        stack.add(new Entry(patch.name, patch.buildId, phase));
        int lingers = find(lingering, patch.name);
        if (lingers >= 0) lingering.remove(lingers);
    }

    private Entry phased(int at, Entry patch, int phase) {
        Entry there = stack.get(at);
        return new Entry(there.name, patch.buildId.length > 0 ? patch.buildId : there.buildId, phase);
    }

    private void linger(Entry left) {
        int at = 0;
        while (at < lingering.size() && Arrays.compareUnsigned(lingering.get(at).name, left.name) < 0) at++;
        lingering.add(at, new Entry(left.name, left.buildId, 0));
    }

    private static int find(List<Entry> entries, byte[] name) {
        for (int i = 0; i < entries.size(); i++) if (Arrays.equals(entries.get(i).name, name)) return i;
        return -1;
    }

    /** Of a StackEntry, or of a Lingering that is not pinned. */
    private static Entry entry(Proto entry) {
        Entry patch = null;
        int phase = 0;
        while (entry.next()) {
            if (entry.field == 1) patch = patch(entry.message(), 0);
            else if (entry.field == 2) phase = (int) entry.varint();
            else entry.skip();
        }
        return new Entry(patch.name, patch.buildId, phase);
    }

    private static Entry patch(Proto patch, int phase) {
        byte[] name = NONE;
        byte[] buildId = NONE;
        while (patch.next()) {
            if (patch.field == 1) name = patch.bytes();
            else if (patch.field == 2) buildId = patch.bytes();
            else patch.skip();
        }
        return new Entry(name, buildId, phase);
    }

    private void read(byte[] stored) {
        Proto state = new Proto(stored, 0, stored.length);
        while (state.next()) {
            switch (state.field) {
                case 2 -> stream = state.fixed64();
                case 3 -> sequence = state.varint();
                case 4 -> release = state.bytes();
                case 5 -> arch = state.bytes();
                case 6 -> livepatching = (int) state.varint();
                case 8 -> stack.add(entry(state.message()));
                case 9 -> lingering.add(entry(state.message()));
                case 11 -> knowledge = (int) state.varint();
                default -> throw new IllegalStateException("field " + state.field);
            }
        }
    }

    private byte[] written() {
        int bytes = 64 + release.length + arch.length;
        for (Entry entry : stack) bytes += 16 + entry.name.length + entry.buildId.length;
        for (Entry entry : lingering) bytes += 16 + entry.name.length + entry.buildId.length;
        ProtoWriter out = new ProtoWriter(bytes);
        out.fixed64(2, stream);
        out.varint(3, sequence);
        out.bytes(4, release);
        out.bytes(5, arch);
        out.varint(6, livepatching);
        for (Entry entry : stack) write(out, 8, entry);
        for (Entry entry : lingering) write(out, 9, entry);
        out.varint(11, knowledge);
        return out.written();
    }

    private static void write(ProtoWriter out, int field, Entry entry) {
        int patch = ProtoWriter.sizeOf(entry.name) + ProtoWriter.sizeOf(entry.buildId);
        out.length(field, 2 + patch + (entry.phase == 0 ? 0 : 2));
        out.length(1, patch);
        out.bytes(1, entry.name);
        out.bytes(2, entry.buildId);
        out.varint(2, entry.phase);
    }
}
