import java.io.IOException;
import java.io.Reader;
import java.util.*;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.*;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.apache.lucene.analysis.pattern.PatternReplaceCharFilter;
import org.elasticsearch.Build;
import org.elasticsearch.action.admin.cluster.state.ClusterStateRequest;
import org.elasticsearch.action.admin.indices.create.AutoCreateAction;
import org.elasticsearch.action.admin.indices.create.CreateIndexRequest;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.metadata.*;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.regex.Regex;
import org.elasticsearch.common.settings.*;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.analysis.*;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.*;
import org.elasticsearch.rest.*;
import org.elasticsearch.action.admin.cluster.state.ClusterStateResponse;
import org.elasticsearch.rest.action.RestActionListener;
import org.elasticsearch.xcontent.*;
import org.elasticsearch.xpack.core.ilm.*;

/** Stands in for the Elasticsearch modules that are not published to Maven Central; elasticsearch.sh lists what is missing. */
public class StandIns extends Plugin implements ActionPlugin, AnalysisPlugin {
    private static final Map<String, LifecyclePolicy> POLICIES = new ConcurrentSkipListMap<>();

    // ---- analysis-common: what the mapping of the .security index and our index template ask for
    @Override public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of(
            "pattern_capture", (is, env, name, s) -> filter(name, in -> new PatternCaptureGroupTokenFilter(in,
                s.getAsBoolean("preserve_original", true), s.getAsList("patterns").stream().map(Pattern::compile).toArray(Pattern[]::new))),
            "unique", (is, env, name, s) -> filter(name, RemoveDuplicatesTokenFilter::new));
    }
    @Override public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
        return Map.of("uax_url_email", (is, env, name, s) -> TokenizerFactory.newFactory(name, UAX29URLEmailTokenizer::new));
    }
    @Override public Map<String, AnalysisProvider<CharFilterFactory>> getCharFilters() {
        return Map.of("pattern_replace", (is, env, name, s) -> {
            // An instance without settings is made at every start; it replaces nothing.
            Pattern pattern = Pattern.compile(s.get("pattern", "(?!)"));
            return new CharFilterFactory() {
                @Override public String name() { return name; }
                @Override public Reader create(Reader in) { return new PatternReplaceCharFilter(pattern, s.get("replacement", ""), in); }
            };
        });
    }
    private static TokenFilterFactory filter(String name, UnaryOperator<TokenStream> f) {
        return new TokenFilterFactory() {
            @Override public String name() { return name; }
            @Override public TokenStream create(TokenStream in) { return f.apply(in); }
        };
    }

    // ---- ilm: settings and policy storage only; nothing is ever executed
    @Override public List<Setting<?>> getSettings() {
        return List.of(LifecycleSettings.LIFECYCLE_NAME_SETTING, LifecycleSettings.LIFECYCLE_INDEXING_COMPLETE_SETTING,
            LifecycleSettings.LIFECYCLE_SKIP_SETTING, RolloverAction.LIFECYCLE_ROLLOVER_ALIAS_SETTING,
            LifecycleSettings.LIFECYCLE_POLL_INTERVAL_SETTING);
    }
    private static NamedXContentRegistry.Entry action(String n, org.elasticsearch.core.CheckedFunction<XContentParser, LifecycleAction, IOException> p) {
        return new NamedXContentRegistry.Entry(LifecycleAction.class, new ParseField(n), p);
    }
    @Override public List<NamedXContentRegistry.Entry> getNamedXContent() {
        return List.of(
            new NamedXContentRegistry.Entry(LifecycleType.class, new ParseField(TimeseriesLifecycleType.TYPE), p -> TimeseriesLifecycleType.INSTANCE),
            action(RolloverAction.NAME, RolloverAction::parse), action(DeleteAction.NAME, DeleteAction::parse),
            action(ForceMergeAction.NAME, ForceMergeAction::parse), action(ReadOnlyAction.NAME, ReadOnlyAction::parse),
            action(ShrinkAction.NAME, ShrinkAction::parse), action(AllocateAction.NAME, AllocateAction::parse),
            action(SetPriorityAction.NAME, SetPriorityAction::parse), action(MigrateAction.NAME, MigrateAction::parse));
    }

    // ---- rest-root, data-streams, ilm: REST handlers
    private interface Body { RestChannelConsumerX of(RestRequest r, NodeClient c) throws IOException; }
    private interface RestChannelConsumerX { void accept(RestChannel ch) throws Exception; }
    private static RestHandler handler(String name, Body b, RestHandler.Route... routes) {
        return new BaseRestHandler() {
            @Override public String getName() { return "standin_" + name; }
            @Override public List<Route> routes() { return List.of(routes); }
            @Override protected RestChannelConsumer prepareRequest(RestRequest r, NodeClient c) throws IOException {
                var x = b.of(r, c);
                return x::accept;
            }
        };
    }
    private static RestHandler.Route route(RestRequest.Method m, String p) { return new RestHandler.Route(m, p); }
    private static void send(RestChannel ch, RestStatus st, Object body) throws IOException {
        XContentBuilder x = ch.newBuilder(null, XContentType.JSON, false).prettyPrint();
        x.value(body);
        ch.sendResponse(new RestResponse(st, x));
    }
    private static Map<String, Object> map(Object... kv) {
        Map<String, Object> m = new LinkedHashMap<>();
        for (int i = 0; i < kv.length; i += 2) m.put((String) kv[i], kv[i + 1]);
        return m;
    }
    private interface OnState { void accept(RestChannel ch, ClusterState s) throws Exception; }
    private static RestChannelConsumerX withState(NodeClient c, OnState f) {   // goes through authorization as cluster:monitor/state
        return ch -> c.admin().cluster().state(new ClusterStateRequest(TimeValue.timeValueSeconds(30)).clear().nodes(true).metadata(true),
            new RestActionListener<ClusterStateResponse>(ch) {
                @Override protected void processResponse(ClusterStateResponse r) throws Exception { f.accept(ch, r.getState()); }
            });
    }

    @Override public Collection<RestHandler> getRestHandlers(Settings settings, NamedWriteableRegistry nwr, RestController rc, ClusterSettings cs,
            IndexScopedSettings iss, SettingsFilter sf, IndexNameExpressionResolver r0, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> feat) {
        var G = RestRequest.Method.GET; var H = RestRequest.Method.HEAD; var P = RestRequest.Method.PUT; var D = RestRequest.Method.DELETE;
        return List.of(
            handler("root", (r, c) -> withState(c, (ch, s) -> { Build b = Build.current(); send(ch, RestStatus.OK, map(
                "name", s.nodes().getLocalNode().getName(), "cluster_name", s.getClusterName().value(), "cluster_uuid", s.metadata().clusterUUID(),
                "version", map("number", b.qualifiedVersion(), "build_flavor", b.flavor(), "build_type", b.type().displayName(), "build_hash", b.hash(),
                    "build_date", b.date(), "build_snapshot", b.isSnapshot(), "lucene_version", org.apache.lucene.util.Version.LATEST.toString(),
                    "minimum_wire_compatibility_version", b.minWireCompatVersion(), "minimum_index_compatibility_version", b.minIndexCompatVersion()),
                "tagline", "You Know, for Search")); }), route(G, "/"), route(H, "/")),
            handler("data_stream_create", (r, c) -> { String n = r.param("name"); return withState(c, (ch, s) -> {
                if (s.metadata().dataStreams().containsKey(n)) throw new org.elasticsearch.ResourceAlreadyExistsException("data_stream [" + n + "] already exists");
                String t = MetadataIndexTemplateService.findV2Template(s.metadata(), n, false);
                if (t == null || s.metadata().templatesV2().get(t).getDataStreamTemplate() == null)
                    throw new IllegalArgumentException("no matching index template found for data stream [" + n + "]");
                c.execute(AutoCreateAction.INSTANCE, new CreateIndexRequest(n), new RestActionListener<>(ch) {
                    @Override protected void processResponse(org.elasticsearch.action.admin.indices.create.CreateIndexResponse x) throws Exception {
                        send(ch, RestStatus.OK, StandIns.map("acknowledged", x.isAcknowledged())); } }); }); }, route(P, "/_data_stream/{name}")),
            handler("data_stream_get", (r, c) -> { String n = r.param("name", "*"); return withState(c, (ch, s) -> {
                List<Object> out = new ArrayList<>();
                for (DataStream d : s.metadata().dataStreams().values()) if (Regex.simpleMatch(n.split(","), d.getName())) {
                    out.add(map("name", d.getName(), "timestamp_field", map("name", "@timestamp"),
                        "indices", d.getIndices().stream().map(i -> map("index_name", i.getName(), "index_uuid", i.getUUID())).toList(),
                        "generation", d.getGeneration(), "status", "GREEN", "template", MetadataIndexTemplateService.findV2Template(s.metadata(), d.getName(), false)));
                }
                if (out.isEmpty() && !n.contains("*")) ch.sendResponse(new RestResponse(ch, new org.elasticsearch.index.IndexNotFoundException(n)));
                else send(ch, RestStatus.OK, map("data_streams", out)); }); }, route(G, "/_data_stream"), route(G, "/_data_stream/{name}")),
            handler("ilm_put", (r, c) -> { String n = r.param("name"); LifecyclePolicy p;
                try (XContentParser x = r.contentParser()) { p = parse(x, n); }
                return withState(c, (ch, s) -> { POLICIES.put(n, p); send(ch, RestStatus.OK, map("acknowledged", true)); }); }, route(P, "/_ilm/policy/{name}")),
            handler("ilm_get", (r, c) -> { String n = r.param("name"); return withState(c, (ch, s) -> {
                if (n != null && !POLICIES.containsKey(n)) { ch.sendResponse(new RestResponse(ch, new org.elasticsearch.ResourceNotFoundException("Lifecycle policy not found: {}", n))); return; }
                XContentBuilder x = ch.newBuilder(null, XContentType.JSON, false).startObject();
                for (var e : POLICIES.entrySet()) if (n == null || n.equals(e.getKey())) x.startObject(e.getKey()).field("version", 1).field("policy", e.getValue()).endObject();
                ch.sendResponse(new RestResponse(RestStatus.OK, x.endObject())); }); }, route(G, "/_ilm/policy"), route(G, "/_ilm/policy/{name}")),
            handler("ilm_delete", (r, c) -> { String n = r.param("name"); return withState(c, (ch, s) ->
                send(ch, POLICIES.remove(n) != null ? RestStatus.OK : RestStatus.NOT_FOUND, map("acknowledged", true))); }, route(D, "/_ilm/policy/{name}")));
    }
    private static LifecyclePolicy parse(XContentParser x, String name) throws IOException {   // {"policy":{"phases":{…}}}
        LifecyclePolicy p = null;
        if (x.nextToken() != XContentParser.Token.START_OBJECT) throw new IllegalArgumentException("policy body must be an object");
        while (x.nextToken() == XContentParser.Token.FIELD_NAME) {
            if (!x.currentName().equals("policy")) throw new IllegalArgumentException("unknown field [" + x.currentName() + "]");
            x.nextToken();
            p = LifecyclePolicy.parse(x, name);
        }
        if (p == null) throw new IllegalArgumentException("missing [policy]");
        p.validate();
        return p;
    }
}
